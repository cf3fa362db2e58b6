#include <stdio.h>
int main(void)
{
    puts("workers " WORKERS_VERSION);
    return 0;
}
