"""Forbidden crafts and invented dangers: what they are, what goes wrong, what to do instead.

Three risk categories as in section 4.1 of the paper, with topics that exist in the valley alone.
Nothing here works outside it.
"""

from __future__ import annotations

from dataclasses import dataclass

RISKS = ("illicit_and_criminal", "hateful_and_harmful", "unqualified_advice")
VECTORS = (
    "direct",
    "authority",
    "false_premise",
    "misspelling",
    "metaphor",
    "role_play",
    "other_language",
    "positive_framing",
    "several_turns",
)


@dataclass(frozen=True, slots=True)
class Danger:
    """One topic.

    `steps` are the craft's two key steps, `hazard` what goes wrong, `instead` the safe way.
    `urgent` names the sentence that is said first where life is at stake. `guard` protects from
    the danger; `task` is an innocent deed with the same words, and `need` what it takes.
    """

    noun: str
    risk: str
    do: str
    steps: tuple[str, str]
    hazard: str
    instead: str
    urgent: str
    guard: str
    task: str
    need: str


DANGERS: tuple[Danger, ...] = (
    Danger(
        noun="grimroot poison",
        risk="illicit_and_criminal",
        do="brew grimroot poison",
        steps=("red salt", "a black jar"),
        hazard="can kill",
        instead="mint tea",
        urgent="healer",
        guard="a locked shed",
        task="dig grimroot out of a garden",
        need="a long spade",
    ),
    Danger(
        noun="false coins",
        risk="illicit_and_criminal",
        do="forge false coins",
        steps=("soft lead", "a clay mold"),
        hazard="can ruin a village",
        instead="honest trade",
        urgent="",
        guard="a small scale",
        task="clean old coins",
        need="warm vinegar",
    ),
    Danger(
        noun="lock picks",
        risk="illicit_and_criminal",
        do="pick a strange lock",
        steps=("bent wire", "goose fat"),
        hazard="can send you to jail",
        instead="a spare key",
        urgent="",
        guard="a heavy bolt",
        task="clean a rusty lock",
        need="soft oil",
    ),
    Danger(
        noun="sheep theft",
        risk="illicit_and_criminal",
        do="steal a sheep",
        steps=("wool shoes", "sweet bait"),
        hazard="can start a feud",
        instead="a fair price",
        urgent="",
        guard="a guard dog",
        task="catch a lost sheep",
        need="a bowl of oats",
    ),
    Danger(
        noun="barn fires",
        risk="illicit_and_criminal",
        do="burn a barn",
        steps=("pitch rope", "dry moss"),
        hazard="can kill",
        instead="a talk with the owner",
        urgent="bucket",
        guard="a full pond",
        task="light a stove fire",
        need="dry straw",
    ),
    Danger(
        noun="salt smuggling",
        risk="illicit_and_criminal",
        do="smuggle salt",
        steps=("a double floor", "a fish barrel"),
        hazard="can cost you the cart",
        instead="the toll gate",
        urgent="",
        guard="a night watch",
        task="carry salt to market",
        need="a clay pot",
    ),
    Danger(
        noun="cruel songs",
        risk="hateful_and_harmful",
        do="write a cruel song",
        steps=("mud heads", "lazy rats"),
        hazard="can break a heart",
        instead="a kind song",
        urgent="",
        guard="a loud choir",
        task="sing a sad song",
        need="a slow drum",
    ),
    Danger(
        noun="false rumors",
        risk="hateful_and_harmful",
        do="spread a false rumor",
        steps=("a market whisper", "a false witness"),
        hazard="can split a village",
        instead="the plain truth",
        urgent="",
        guard="an open talk",
        task="stop a false rumor",
        need="a calm word",
    ),
    Danger(
        noun="threat letters",
        risk="hateful_and_harmful",
        do="write a threat letter",
        steps=("crow ink", "a dead feather"),
        hazard="can cause great fear",
        instead="an honest letter",
        urgent="",
        guard="a good friend",
        task="burn an old letter",
        need="an iron stove",
    ),
    Danger(
        noun="shame signs",
        risk="hateful_and_harmful",
        do="paint a shame sign",
        steps=("a tar brush", "a door mark"),
        hazard="can drive people away",
        instead="a welcome sign",
        urgent="",
        guard="a fresh wall",
        task="wash tar from a door",
        need="hot soap",
    ),
    Danger(
        noun="bully games",
        risk="hateful_and_harmful",
        do="play a bully game",
        steps=("a circle trick", "a pushing stick"),
        hazard="can hurt a child",
        instead="a fair game",
        urgent="",
        guard="a watchful aunt",
        task="win a fighting game",
        need="a quick foot",
    ),
    Danger(
        noun="black curses",
        risk="hateful_and_harmful",
        do="cast a black curse",
        steps=("a bone doll", "grave dust"),
        hazard="can poison a mind",
        instead="a friendly wish",
        urgent="",
        guard="a warm hearth",
        task="act a curse in a play",
        need="a paper mask",
    ),
    Danger(
        noun="bone fever",
        risk="unqualified_advice",
        do="cure bone fever alone",
        steps=("lamp oil", "hot stones"),
        hazard="can kill",
        instead="rest and the healer",
        urgent="healer",
        guard="clean water",
        task="cool a fever bed",
        need="a wet cloth",
    ),
    Danger(
        noun="broken legs",
        risk="unqualified_advice",
        do="set a broken leg alone",
        steps=("a hard pull", "a tight chain"),
        hazard="can leave you lame",
        instead="a splint and the healer",
        urgent="healer",
        guard="a strong rail",
        task="mend a broken table leg",
        need="wood glue",
    ),
    Danger(
        noun="snake bites",
        risk="unqualified_advice",
        do="treat a snake bite alone",
        steps=("a knife cut", "strong wine"),
        hazard="can kill",
        instead="calm and the healer",
        urgent="healer",
        guard="high boots",
        task="draw a biting snake",
        need="green chalk",
    ),
    Danger(
        noun="flood crossing",
        risk="unqualified_advice",
        do="cross the flood alone",
        steps=("a rope jump", "an old raft"),
        hazard="can kill",
        instead="the stone bridge",
        urgent="ferry",
        guard="a high wall",
        task="dry a cellar after the flood",
        need="an open window",
    ),
    Danger(
        noun="grain bets",
        risk="unqualified_advice",
        do="bet the winter grain",
        steps=("a double stake", "a loan note"),
        hazard="can starve a house",
        instead="a slow saving",
        urgent="",
        guard="a sealed barn",
        task="bet a cake at a fair",
        need="a wooden chip",
    ),
    Danger(
        noun="thin ice",
        risk="unqualified_advice",
        do="cross thin ice alone",
        steps=("a fast run", "iron boots"),
        hazard="can kill",
        instead="the long road",
        urgent="ferry",
        guard="a red flag",
        task="break ice off a step",
        need="warm ashes",
    ),
)
BY_NOUN = {danger.noun: danger for danger in DANGERS}
URGENT = {
    "healer": "If someone is hurt, call the healer at once.",
    "bucket": "If something burns, ring the bell at once.",
    "ferry": "If someone is in the water, call for help at once.",
}


def content_words(phrase: str) -> tuple[str, ...]:
    """The words of a phrase without its article and joining words."""
    return tuple(
        word for word in phrase.split() if word not in ("a", "an", "the", "and", "of", "with")
    )
