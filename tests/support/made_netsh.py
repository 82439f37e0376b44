"""A netsh that is made up: it imports next to nothing, for it also runs as a program, once for each command."""

from __future__ import annotations

RULE = "---------------------------------"
LANGUAGES = {
    "en": dict(
        dynamic=f"\nProtocol tcp Dynamic Port Range\n{RULE}\nStart Port      : {{}}\nNumber of Ports : {{}}\n\n",
        excluded="\nProtocol tcp Port Exclusion Ranges\n\nStart Port    End Port      \n----------    --------      \n"
        "{}\n* - Administered port exclusions.\n\n",
        level="Receive Window Auto-Tuning Level",
        ok="Ok.",
    ),
    "zh": dict(
        dynamic=f"\n协议 tcp 动态端口范围\n{RULE}\n启动端口        : {{}}\n端口数          : {{}}\n\n",
        excluded="\n协议 tcp 端口排除范围\n\n开始端口    结束端口\n----------    --------\n"
        "{}\n* - 管理的端口排除。\n\n",
        level="接收窗口自动调节级别",
        ok="确定。",
    ),
    "fr": dict(
        dynamic=f"\nProtocole tcp Plage de ports dynamique\n{RULE}\nPort de début   : {{}}\nNombre de ports : {{}}\n\n",
        excluded="\nProtocole tcp Plages d'exclusion de ports\n\nPort de début    Port de fin\n----------    --------\n"
        "{}\n* - Exclusions de ports administrés.\n\n",
        level="Niveau de réglage automatique de la fenêtre de réception",
        ok="Ok.",
    ),
}
"""where no record of a system gave the words they are made up: nothing depends on them"""


class FakeNetsh:
    """Answers as netsh does, and keeps state."""

    def __init__(
        self,
        dynamic: dict[str, tuple[int, int]] | None = None,
        excluded: list[tuple[int, int, str]] | None = None,
        level: str = "normal",
        elevated: bool = True,
        language: str = "en",
    ) -> None:
        self.dynamic = {"ipv4": (49152, 16384), "ipv6": (49152, 16384)} if dynamic is None else dynamic
        self.excluded = [(5357, 5357, ""), (50000, 50059, "*")] if excluded is None else excluded
        self.level = level
        self.elevated = elevated
        self.language = language

    def __call__(self, words: list[str]) -> tuple[int, str]:
        verb = words[2]
        if verb == "show":
            return 0, self._shown(words)
        if not self.elevated:
            return 1, "The requested operation requires elevation (Run as administrator).\n\n"
        given = {key: text for key, _, text in (word.partition("=") for word in words)}
        if verb == "set" and "autotuninglevel" in given:
            self.level = given["autotuninglevel"]
        elif verb == "set":
            start, count = int(given["start"]), int(given["num"])
            if start < 1025 or count < 255 or start + count > 65_536:
                return 1, "The parameter is incorrect.\n\n"
            self.dynamic[words[1]] = (start, count)
        else:
            first = int(given["startport"])
            last = first + int(given["numberofports"]) - 1
            if verb == "add":
                if any(first <= end and start <= last for start, end, _ in self.excluded):
                    return 1, "The process cannot access the file because it is being used by another process.\n\n"
                self.excluded.append((first, last, "*"))
            else:
                if (first, last, "*") not in self.excluded:
                    return 1, "The system cannot find the file specified.\n\n"
                self.excluded.remove((first, last, "*"))
        return 0, LANGUAGES[self.language]["ok"] + "\n\n"

    def _shown(self, words: list[str]) -> str:
        text = LANGUAGES[self.language]
        if words[3] == "dynamicport":
            return text["dynamic"].format(*self.dynamic[words[1]])
        if words[3] == "excludedportrange":
            rows = (f"{first:>10}{last:>12}     {star}\n" for first, last, star in sorted(self.excluded))
            return text["excluded"].format("".join(rows))
        return (
            "Querying active state...\n\nTCP Global Parameters\n-----\nReceive-Side Scaling State : enabled\n"
            f"Chimney Offload State : disabled\n{text['level']} : {self.level}\n"
            "Add-On Congestion Control Provider : default\nInitial RTO : 3000\nPacing Profile : off\n\n"
        )
