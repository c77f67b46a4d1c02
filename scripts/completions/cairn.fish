# Completion of cairn for fish. The command itself knows what fits (cairn complete), so nothing here names a verb.
complete -c cairn -f -a '(cairn complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
complete -c cairn -n 'string match -qr "^[./]" -- (commandline -ct)' -F
