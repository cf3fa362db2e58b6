/* What can come next on a command line, for the completions of shells (completions/).
 *
 * Who owns what: nothing is kept. */
#ifndef WORKERS_CLI_COMPLETE_H
#define WORKERS_CLI_COMPLETE_H

#define COMPLETE_WORD "--complete" /* main() is called so by the shells */

/* words are those after the program's name, the last of them as far as it is typed. Prints one candidate a
 * line, with a tab and what it is, or ":files" for names of files. Returns the exit code. */
int complete_words(int count, char **words);

#endif
