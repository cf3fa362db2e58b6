# Completions of workers for fish. The program says what can come next: see src/cli/complete.c.

function __workers_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -e words[1]
    for line in (command $program --complete $words "$current" 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path "$current"
        else if test "$line" = ":files@"
            set -l before (string replace -r '@.*' '@' -- "$current")
            for path in (__fish_complete_path (string replace -r '^[^@]*@' '' -- "$current"))
                echo $before$path
            end
        else
            echo $line
        end
    end
end

complete -c workers -f -a '(__workers_complete)'
