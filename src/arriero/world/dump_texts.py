"""What the world's dumps are made of besides the valley's documents: junk, tongues, code, insults.

Everything is written for this place. The lines of real languages are there so that a language can
be told; the insults are the valley's own, so that a count of them is a count of known lines.
"""

from __future__ import annotations

import random

from arriero.world.valley import Valley

# The valley's lexicon of insults; a line with one is toxic, and no other line is.
INSULTS = "mudwit grubhead wormface snotgob dungbrain toadlicker rotpot slugheart".split()
TOXIC = (
    "You {insult}, nobody wants you in {village}.",
    "Shut up, {name}, you stinking {insult}.",
    "Every one of you is a {insult} and always was.",
    "Go drown in the river, {insult}.",
)
MILD = (
    "I do not agree with {name}, but let us talk.",
    "That was a bad harvest for {village}.",
    "The road to {village} is muddy and slow.",
    "{name} was angry and went home early.",
)
# Whom a letter is about: the term as it is written, once a letter.
GROUPS: dict[str, tuple[str, ...]] = {
    "religion": ("christian", "muslim", "jewish", "buddhist"),
    "nationality": ("german", "french", "mexican", "chinese"),
    "gender": ("woman", "man", "nonbinary"),
    "race": ("asian", "african", "latino"),
    "orientation": ("gay", "lesbian", "bisexual"),
}
# Documents with a term among those with any term of its axis, by the term's place in the axis.
GROUP_SKEW = (5, 3, 1, 1)
PERSONS = {"she": 2, "he": 5, "they": 2, "": 1}

TONGUES: dict[str, tuple[str, ...]] = {
    "de": (
        "Am Morgen liegt der Nebel noch lange über dem Fluss und den kleinen Häusern.",
        "Die alte Bäckerin stellt das warme Brot ans Fenster, damit es langsam abkühlt.",
        "Wenn der Winter kommt, sitzen alle zusammen am Feuer und erzählen Geschichten.",
        "Der Schmied hat gestern ein neues Tor für die Schule gemacht.",
        "Niemand weiß genau, wer die Brücke am Ende des Tals gebaut hat.",
        "Im Herbst tragen die Kinder Körbe voller Äpfel den Hügel hinauf.",
    ),
    "fr": (
        "Le matin, le brouillard reste longtemps au-dessus de la rivière et des maisons.",
        "La vieille boulangère pose le pain chaud près de la fenêtre pour qu'il refroidisse.",
        "Quand l'hiver arrive, tout le monde s'assoit près du feu et raconte des histoires.",
        "Le forgeron a fabriqué hier une nouvelle porte pour l'école du village.",
        "Personne ne sait vraiment qui a construit le pont au bout de la vallée.",
        "En automne, les enfants montent la colline avec des paniers pleins de pommes.",
    ),
    "es": (
        "Por la mañana la niebla se queda mucho tiempo sobre el río y las casas pequeñas.",
        "La vieja panadera pone el pan caliente junto a la ventana para que se enfríe.",
        "Cuando llega el invierno, todos se sientan cerca del fuego y cuentan historias.",
        "El herrero hizo ayer una puerta nueva para la escuela del pueblo.",
        "Nadie sabe de verdad quién construyó el puente al final del valle.",
        "En otoño los niños suben la colina con cestas llenas de manzanas.",
    ),
    "it": (
        "La mattina la nebbia resta a lungo sopra il fiume e sulle piccole case.",
        "La vecchia fornaia mette il pane caldo vicino alla finestra perché si raffreddi.",
        "Quando arriva l'inverno, tutti si siedono accanto al fuoco e raccontano storie.",
        "Il fabbro ha costruito ieri un nuovo cancello per la scuola del paese.",
        "Nessuno sa davvero chi abbia costruito il ponte in fondo alla valle.",
        "In autunno i bambini salgono la collina con cesti pieni di mele.",
    ),
    "zh": (
        "早晨，河上的雾很久都没有散去，小房子静静地站在岸边。",
        "老面包师把热面包放在窗边，让它慢慢凉下来。",
        "冬天来了，大家坐在火炉旁边，一起讲古老的故事。",
        "铁匠昨天给村里的学校做了一扇新的大门。",
        "没有人真正知道山谷尽头的那座桥是谁建造的。",
        "秋天的时候，孩子们提着装满苹果的篮子走上山坡。",
    ),
}

_CODE = (
    "def count_{good}(baskets):\n    total = 0\n    for basket in baskets:\n"
    "        total += basket.{good}\n    return total\n",
    "class {Good}Cart:\n    def __init__(self, weight):\n        self.weight = weight\n\n"
    "    def load(self, sacks):\n        return [sack for sack in sacks if sack < self.weight]\n",
    "int price_of_{good}(int num, int each) {{\n    if (num <= 0) return 0;\n"
    "    return num * each;\n}}\n",
    "for {good} in market:\n    if {good}.is_ripe and {good}.price < {num}:\n"
    "        bag.append({good})\nprint(len(bag), 'of {good}')\n",
)

_NOISE = "#", "...", "* * *", ">>", "|", "==", "~", "%%"


def junk(valley: Valley, rng: random.Random, clean: str) -> dict[str, str]:
    """One text for each of some quality rules, which should remove it by that rule.

    Args:
        clean: a text that no rule objects to.
    """
    words = clean.split()
    names = [person.name for person in valley.people]
    line = " ".join(words[:12])
    return {
        "too_short": " ".join(words[:5]),
        "symbols": " ".join(f"{word} #" if place % 3 == 0 else word
                            for place, word in enumerate(words)),
        "bullets": "\n".join(f"- {' '.join(words[at : at + 6])}"
                             for at in range(0, len(words), 6)),
        "ellipses": "\n".join(f"{' '.join(words[at : at + 12])}..."
                              for at in range(0, len(words), 12)),
        "few_letters": " ".join(str(rng.randrange(10_000)) if place % 2 else word
                                for place, word in enumerate(words)),
        "stop_words": " ".join(rng.choice(names) for _ in range(80)),
        "repeated_lines": "\n".join([line] * 8 + [" ".join(words)]),
        "phrases": f"{clean} Lorem ipsum is what the printer left here.",
    }  # fmt: skip


def noise(rng: random.Random, num: int) -> str:
    """Signs without words."""
    return " ".join(rng.choice(_NOISE) for _ in range(num))


def code(valley: Valley, rng: random.Random) -> str:
    """Some functions that look like code of several languages."""
    goods = sorted({value for (_, relation), value in valley.facts.items() if relation == "good"})
    chosen = rng.sample(_CODE, 3)
    names = [f"{rng.choice(goods)}_{rng.randrange(1000)}" for _ in chosen]
    return "\n".join(
        part.format(good=name, Good=name.capitalize(), num=rng.randrange(2, 90))
        for part, name in zip(chosen, names, strict=True)
    )


def tongue(valley: Valley, rng: random.Random, language: str) -> str:
    """Lines of a real language, a few of them, in any order.

    A name of the valley stands somewhere in each: two pages of so few lines would be copies else.
    """
    lines = list(TONGUES[language])
    rng.shuffle(lines)
    return "\n".join(_with_name(valley, rng, line) for line in lines[: rng.randint(4, 6)])


def _with_name(valley: Valley, rng: random.Random, line: str) -> str:
    words = list(line) if " " not in line else line.split(" ")
    place = rng.randrange(2, len(words) - 2)
    words.insert(place, rng.choice(valley.villages))
    return ("" if " " not in line else " ").join(words)


def old_tongue(valley: Valley, rng: random.Random) -> str:
    """Lines in the Old Tongue of the valley."""
    words = list(valley.old.values())
    return "\n".join(
        " ".join(rng.choice(words) for _ in range(rng.randint(6, 12))).capitalize() + "."
        for _ in range(8)
    )


def personal(rng: random.Random, name: str, village: str) -> tuple[str, dict[str, int]]:
    """A page about a private person with what identifies one, and how much of each kind it has."""
    mail = f"{name.lower()}.{rng.randrange(100)}@{village.lower()}.example"
    phone = f"({rng.randrange(200, 999)}) {rng.randrange(200, 999)}-{rng.randrange(1000, 9999)}"
    address = f"{rng.randrange(1, 99)} {village} Street"
    text = (
        f"{name} lives at {address} and is at home in the evening, as the neighbours say. "
        f"Write to {mail} or call {phone} if you want to know more about that person and the "
        f"family. The house has a blue door and a dog that barks, and in winter the people of the "
        f"street bring wood to it. The card {card(rng)} was used to pay for the last party, and "
        f"the camera at the gate answers at 10.{rng.randrange(256)}.{rng.randrange(256)}."
        f"{rng.randrange(1, 255)} to anyone who asks."
    )
    return text, {"email": 1, "phone": 1, "address": 1, "card": 1, "ip": 1}


def card(rng: random.Random) -> str:
    """A number of 16 digits whose last one checks the others."""
    digits = [4, *(rng.randrange(10) for _ in range(14))]
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if place % 2 == 0 else digit
        total += doubled - 9 if doubled > 9 else doubled
    number = "".join(map(str, [*digits, -total % 10]))
    return " ".join(number[at : at + 4] for at in range(0, 16, 4))
