# shellcheck shell=bash
# Completions of workers for bash. The program says what can come next: see src/cli/complete.c.

_workers() {
    local current=${2-${COMP_WORDS[COMP_CWORD]}} line
    local -a words=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
    COMPREPLY=()
    [ "$current" = "=" ] && current=
    # bash makes words of their own of "@" and "=@".
    [[ $current == @* && ${words[*]: -1} =~ ^=?@$ ]] && unset 'words[-1]'
    while IFS= read -r line; do
        case $line in
            :files)
                compopt -o filenames 2>/dev/null
                while IFS= read -r line; do
                    COMPREPLY+=("$line")
                done < <(compgen -f -- "$current")
                ;;
            :files@)
                compopt -o filenames -o nospace 2>/dev/null
                while IFS= read -r line; do
                    [ -d "$line" ] && line+=/
                    COMPREPLY+=("${current%%@*}@$line")
                done < <(compgen -f -- "${current#*@}")
                ;;
            *) COMPREPLY+=("${line%%$'\t'*}") ;;
        esac
    done < <("${COMP_WORDS[0]/#~\//$HOME/}" --complete "${words[@]}" "$current" 2>/dev/null)
}

complete -F _workers workers
