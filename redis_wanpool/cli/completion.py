"""`wanpool completion`: what a shell needs to complete commands and their options, from the parsers."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from redis_wanpool.cli.help import summary
from redis_wanpool.cli.parser import CommandLine, Parser
from redis_wanpool.cli.verb import DONE, Verbs, answer


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(
        completion,
        'eval "$(wanpool completion bash)"                             # in ~/.bashrc',
        'eval "$(wanpool completion zsh)"                              # in ~/.zshrc, after compinit',
        "wanpool completion fish > ~/.config/fish/completions/wanpool.fish",
        "wanpool completion powershell | Out-String | Invoke-Expression # in $PROFILE",
    )
    parser.add_argument("shell", choices=tuple(SCRIPTS))
    parser.set_defaults(line=verbs.line)


def completion(options: argparse.Namespace) -> int:
    """Prints the script by which a shell completes commands, options and choices."""
    text = SCRIPTS[options.shell](words_of(options.line))
    answer(options, [text.rstrip()], shell=options.shell, script=text)
    return DONE


@dataclass(frozen=True, slots=True)
class Words:
    """What may follow one verb."""

    what: str  #: what the verb does
    options: Mapping[str, str]  #: -> what each is for
    choices: Mapping[str, str]  #: of its arguments -> ""
    values: Mapping[str, tuple[str, ...]]  #: of options that take one of a few
    taking: tuple[str, ...]  #: the options that take a value


def words_of(line: CommandLine) -> dict[str, Words]:
    """The verbs and what may follow each; "": what may follow `wanpool` itself."""
    verbs = {verb: _words(parser) for verb, parser in line.verbs.items()}
    common = _words(line.common)
    names = {verb: words.what for verb, words in verbs.items()}
    helps = Words(verbs["help"].what, verbs["help"].options, names, {}, common.taking)
    return {"": Words("", common.options, names, {}, common.taking), **verbs, "help": helps}


def _words(parser: Parser) -> Words:
    options: dict[str, str] = {}
    choices: dict[str, str] = {}
    values: dict[str, tuple[str, ...]] = {}
    taking: list[str] = []
    for action in parser.actions:
        named = tuple(map(str, action.choices or ()))
        for name in (one for one in action.option_strings if one.startswith("--")):
            options[name] = (action.help or "").partition("; ")[0]
            if action.nargs != 0:
                taking.append(name)
            if named:
                values[name] = named
        if not action.option_strings:
            choices |= dict.fromkeys(named, "")
    return Words(summary(parser), options, choices, values, tuple(taking))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _cases(verbs: Mapping[str, Words], bracket: str) -> Iterator[tuple[str, str, list[str]]]:
    """The arms of a case over "VERB PREVIOUS": those for an option's value first."""
    for verb, words in verbs.items():
        for option, values in words.values.items():
            yield f"{bracket}{_quoted(f'{verb} {option}')})", "", list(values)
        taking = [option for option in words.taking if option not in words.values]
        if taking:
            yield bracket + "|".join(_quoted(f"{verb} {option}") for option in taking) + ")", "files", []
    for verb, words in verbs.items():
        yield f"{bracket}{_quoted(f'{verb} ')}*)", "", [*words.choices, *words.options]


def _skipping(verbs: Mapping[str, Words]) -> str:
    return "|".join(verbs[""].taking)


def bash(verbs: Mapping[str, Words]) -> str:
    arms = "\n".join(
        f"    {arm} {'return' if files else 'words=' + _quoted(' '.join(words))} ;;"
        for arm, files, words in _cases(verbs, "")
    )
    return f"""# bash completion for wanpool
_wanpool() {{
  local verb= words= i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${{COMP_WORDS[i]}}" in
      {_skipping(verbs)}) ((i++)) ;;
      -*) ;;
      *) verb="${{COMP_WORDS[i]}}"; break ;;
    esac
  done
  case "$verb ${{COMP_WORDS[COMP_CWORD-1]}}" in
{arms}
  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _wanpool wanpool
"""


def zsh(verbs: Mapping[str, Words]) -> str:
    what = {verb: {**words.choices, **words.options} for verb, words in verbs.items()}
    arms = []
    for arm, files, words in _cases(verbs, "("):
        verb = arm.lstrip("('").partition(" ")[0]
        told = " ".join(_quoted(f"{word}:{text}" if (text := what[verb].get(word)) else word) for word in words)
        arms.append(f"    {arm} {'_files; return' if files else f'found=({told})'} ;;")
    return f"""#compdef wanpool
_wanpool() {{
  local verb= i
  local -a found
  for ((i = 2; i < CURRENT; i++)); do
    case "$words[i]" in
      ({_skipping(verbs)}) ((i++)) ;;
      (-*) ;;
      (*) verb="$words[i]"; break ;;
    esac
  done
  case "$verb $words[CURRENT-1]" in
{chr(10).join(arms)}
  esac
  _describe wanpool found || _files
}}
if [ "$funcstack[1]" = _wanpool ]; then _wanpool "$@"; else compdef _wanpool wanpool; fi
"""


def fish(verbs: Mapping[str, Words]) -> str:
    lines = [
        "# fish completion for wanpool",
        "function __wanpool_verb",
        "  set -l words (commandline -opc)[2..-1]",
        "  while set -q words[1]",
        f"    if contains -- $words[1] {' '.join(verbs[''].taking)}",
        "      set -e words[1]",
        "    else if not string match -q -- '-*' $words[1]",
        "      echo $words[1]; return",
        "    end",
        "    set -e words[1]",
        "  end",
        "end",
    ]
    for name, text in verbs[""].choices.items():
        lines.append(f"complete -c wanpool -f -n 'test -z (__wanpool_verb)' -a {name} -d {_fish(text)}")
    for name, text in verbs[""].options.items():
        takes = " -r" if name in verbs[""].taking else ""
        lines.append(f"complete -c wanpool -l {name[2:]}{takes} -d {_fish(text)}")
    for verb, words in verbs.items():
        here = f"complete -c wanpool -n 'contains -- {verb} (__wanpool_verb)'"
        if words.choices and verb:
            lines.append(f"{here} -f -a {_fish(' '.join(words.choices))}")
        for name, text in words.options.items() if verb else ():
            if name not in verbs[""].options:
                values = f" -f -a {_fish(' '.join(words.values[name]))}" if name in words.values else ""
                takes = " -r" if name in words.taking else ""
                lines.append(f"{here} -l {name[2:]}{takes}{values} -d {_fish(text)}")
    return "\n".join(lines) + "\n"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def powershell(verbs: Mapping[str, Words]) -> str:
    def listed(words: Iterator[str] | list[str] | tuple[str, ...]) -> str:
        return "@(" + ", ".join("'" + word.replace("'", "''") + "'" for word in words) + ")"

    follows = "\n".join(f"    '{verb}' = {listed([*words.choices, *words.options])}" for verb, words in verbs.items())
    values = "\n".join(
        f"    '{verb} {option}' = {listed(choices)}"
        for verb, words in verbs.items()
        for option, choices in words.values.items()
    )
    return f"""# PowerShell completion for wanpool
Register-ArgumentCompleter -Native -CommandName wanpool -ScriptBlock {{
  param($word, $line, $position)
  $follows = @{{
{follows}
  }}
  $values = @{{
{values}
  }}
  $before = @($line.CommandElements | Select-Object -Skip 1 | Where-Object {{ $_.Extent.EndOffset -lt $position }} |
    ForEach-Object {{ "$_" }})
  $verb = "$($before | Where-Object {{ $follows.ContainsKey($_) }} | Select-Object -First 1)"
  $found = $values["$verb $($before | Select-Object -Last 1)"]
  if (-not $found) {{ $found = $follows[$verb] }}
  $found | Where-Object {{ $_ -like "$word*" }} |
    ForEach-Object {{ [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_) }}
}}
"""


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish, "powershell": powershell}
