# percept.fish - completion of percept for fish.
set -l commands ask chat embed look status assistants plugins assemblies load unload reload shutdown models bench check

function __percept_assistants
	percept --no-start assistants 2>/dev/null | awk 'NR > 1 { print $1 }'
end
function __percept_models
	percept models list 2>/dev/null | awk 'NR > 1 { print $1 }'
end

complete -c percept -f
complete -c percept -s S -l socket -r -F -d 'the socket of the daemon'
complete -c percept -s A -l assistant -x -a '(__percept_assistants)' -d 'which assistant'
complete -c percept -l no-start -d 'start no daemon when none answers'
complete -c percept -l json -d 'print the result as JSON'
complete -c percept -s h -l help -d 'show help'
complete -c percept -n "not __fish_seen_subcommand_from $commands" -l version -d 'show the version'

set -l none "not __fish_seen_subcommand_from $commands"
complete -c percept -n $none -a ask -d 'answers a question about pictures, sound and text'
complete -c percept -n $none -a chat -d 'a conversation in the terminal'
complete -c percept -n $none -a embed -d 'the embedding of a text or of a picture'
complete -c percept -n $none -a assemblies -d 'which encoders, connectors and decoders fit together'
complete -c percept -n $none -a look -d 'what an encoder saw, and where words attended'
complete -c percept -n $none -a status -d 'how the daemon and its assistants are'
complete -c percept -n $none -a assistants -d 'which assistants there are'
complete -c percept -n $none -a plugins -d 'which plugins were found, and why some were refused'
complete -c percept -n $none -a load -d 'starts an assistant'
complete -c percept -n $none -a unload -d 'ends an assistant and frees its memory'
complete -c percept -n $none -a reload -d 'has the daemon read its configuration again'
complete -c percept -n $none -a shutdown -d 'has the daemon finish what it does, and end'
complete -c percept -n $none -a models -d 'the models on this machine'
complete -c percept -n $none -a bench -d 'how fast this machine is, and a model or an assistant on it'
complete -c percept -n $none -a check -d 'examines whether a plugin keeps the contract'

set -l media '__fish_seen_subcommand_from ask embed'
complete -c percept -n $media -s i -l image -r -F -d 'a picture'
complete -c percept -n $media -s a -l audio -r -F -d 'a recording'
complete -c percept -n $media -s v -l video -r -F -d 'a film'

set -l answers '__fish_seen_subcommand_from ask chat'
complete -c percept -n $answers -s s -l system -x -d 'instructions for the assistant'
complete -c percept -n $answers -s n -l max-tokens -x -d 'at most this many tokens'
complete -c percept -n $answers -s t -l temperature -x -d '0: always the likeliest word'
complete -c percept -n $answers -l seed -x -d 'of the random numbers'
complete -c percept -n $answers -l top-k -x -d 'among the K likeliest'
complete -c percept -n $answers -l top-p -x -d 'among the likeliest that make up P'
complete -c percept -n $answers -l min-p -x -d 'at least P of the likeliest'
complete -c percept -n $answers -l typical-p -x -d 'locally typical'
complete -c percept -n $answers -l repeat-penalty -x -d '1: none'
complete -c percept -n $answers -l presence-penalty -x -d '0: none'
complete -c percept -n $answers -l frequency-penalty -x -d '0: none'
complete -c percept -n $answers -l deadline -x -d 'milliseconds'
complete -c percept -n '__fish_seen_subcommand_from ask' -l stop -x -d 'end the answer before this text'
complete -c percept -n '__fish_seen_subcommand_from ask' -l raw -d 'without the chat template'

complete -c percept -n '__fish_seen_subcommand_from embed' -l space -x -a 'encoder connector text' -d 'where'
complete -c percept -n '__fish_seen_subcommand_from embed' -l pooled -d 'one vector an item'
complete -c percept -n '__fish_seen_subcommand_from embed' -l compare -d 'a table of how alike they are'
complete -c percept -n '__fish_seen_subcommand_from assemblies' -F
complete -c percept -n '__fish_seen_subcommand_from assemblies' -s f -l fits -d 'only what fits'
complete -c percept -n '__fish_seen_subcommand_from look' -F
complete -c percept -n '__fish_seen_subcommand_from look' -s o -l output -r -F -d 'write a PNG file'
complete -c percept -n '__fish_seen_subcommand_from look' -s T -l token -x -d 'of the answer, not all'
complete -c percept -n '__fish_seen_subcommand_from look' -s n -l max-tokens -x -d 'at most this many tokens'
complete -c percept -n '__fish_seen_subcommand_from look' -s s -l system -x -d 'instructions for the assistant'
complete -c percept -n '__fish_seen_subcommand_from look' -l raw -d 'without the chat template'
complete -c percept -n '__fish_seen_subcommand_from load unload' -x -a '(__percept_assistants)'
complete -c percept -n '__fish_seen_subcommand_from models; and not __fish_seen_subcommand_from list show verify pull remove convert quantize' -x -a 'list show verify pull remove convert quantize'
complete -c percept -n '__fish_seen_subcommand_from models; and __fish_seen_subcommand_from show verify remove convert quantize' -x -a '(__percept_models)'
complete -c percept -n '__fish_seen_subcommand_from models; and __fish_seen_subcommand_from quantize' -x -a 'Q8_0 Q6_K Q4_K_M Q4_0'
complete -c percept -n '__fish_seen_subcommand_from models' -s o -l output -r -F -d 'the file to write'
complete -c percept -n '__fish_seen_subcommand_from models' -s t -l type -x -a 'f32 f16 bf16' -d 'type of converted matrices'
complete -c percept -n '__fish_seen_subcommand_from models' -s y -l yes -d 'remove without asking'
complete -c percept -n '__fish_seen_subcommand_from models' -l tensors -d 'show every tensor'
complete -c percept -n '__fish_seen_subcommand_from models' -l mmproj -d 'convert only what pictures go through'
complete -c percept -n '__fish_seen_subcommand_from bench' -l threads -x -d 'threads that compute'
complete -c percept -n '__fish_seen_subcommand_from bench' -l prefill -x -d 'tokens of the prompt'
complete -c percept -n '__fish_seen_subcommand_from bench' -l decode -x -d 'tokens of the answer'
complete -c percept -n '__fish_seen_subcommand_from bench' -l context -x -d 'tokens before the answer'
complete -c percept -n '__fish_seen_subcommand_from bench' -l batch -x -d 'requests at once'
complete -c percept -n '__fish_seen_subcommand_from bench' -l runs -x -d 'of each measurement'
complete -c percept -n '__fish_seen_subcommand_from bench' -l encoder -x -d 'measure this encoder alone'
complete -c percept -n '__fish_seen_subcommand_from bench' -l compute -x -a 'fast bf16 f32' -d 'its option compute'
complete -c percept -n '__fish_seen_subcommand_from bench' -l side -x -d 'pixels of its picture'
complete -c percept -n '__fish_seen_subcommand_from bench' -l machine -d 'measure the machine only'
complete -c percept -n '__fish_seen_subcommand_from check' -s m -l model -r -F -d 'a model'
complete -c percept -n '__fish_seen_subcommand_from check' -s o -l option -x -d 'an option of the plugin'
complete -c percept -n '__fish_seen_subcommand_from check' -F
