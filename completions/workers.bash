# shellcheck shell=bash
# Completions of workers for bash. The program says what can come next: see src/cli/complete.c.

_workers() {
    local current=${COMP_WORDS[COMP_CWORD]} line
    COMPREPLY=()
    [ "$current" = "=" ] && current=
    while IFS= read -r line; do
        if [ "$line" = ":files" ]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r line; do
                COMPREPLY+=("$line")
            done < <(compgen -f -- "$current")
        else
            COMPREPLY+=("${line%%$'\t'*}")
        fi
    done < <("${COMP_WORDS[0]}" --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}

complete -F _workers workers
