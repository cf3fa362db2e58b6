#compdef workers
# Completions of workers for zsh. The program says what can come next: see src/cli/complete.c.

_workers() {
    local line word
    local -a found
    for line in "${(@f)$("${words[1]/#\~\//$HOME/}" --complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == :files ]]; then
            _files
        elif [[ $line == :files@ ]]; then
            compset -P '[^@]#@'
            _files
        elif [[ -n $line ]]; then
            word=${line%%$'\t'*}
            found+=("${word//:/\\:}:${line#*$'\t'}")
        fi
    done
    (( $#found )) && _describe -t words workers found
}

# As a file of fpath this is the body of the function; otherwise it was sourced.
if [[ $funcstack[1] == _workers ]]; then
    _workers "$@"
else
    compdef _workers workers
fi
