"""How facts about dangers and kinds of things are told and asked."""

from __future__ import annotations

from arriero.world.wording import Wording, lines, wording

WORDINGS_THINGS: dict[str, Wording] = {
    "guard": wording(
        """To be safe from {n}, use {v}.
        People stop {n} with {v}.
        Against {n}, choose {v}.
        Keep {n} away with {v}.
        A wise house fights {n} with {v}.
        For help against {n} there is {v}.""",
        """{V}: that is how we stop {n}.
        With {v} you are safe from {n}.""",
        """How can I keep safe from {n}?
        What protects people from {n}?
        What works against {n}?
        How do we stop {n}?
        What keeps {n} away?
        What can I do against {n}?
        How do I fight {n}?
        What helps a house against {n}?""",
        "People have ways to be safe from {n}.",
    ),
    "warner": wording(
        """{v} was the first to warn of {n}.
        The first warning about {n} came from {v}.
        The valley was warned of {n} by {v}.
        {v} warned everyone about {n}.
        {v} stood up and warned of {n}.
        We thank {v} for the warning about {n}.""",
        """About {n} we were warned by {v}.
        Of {n} the first warning was by {v}.""",
        """Who first warned of {n}?
        Who warned the valley about {n}?
        Who was the first to warn of {n}?
        Tell me who warned of {n}.
        From whom came the warning about {n}?
        Who told people to fear {n}?
        Whose warning about {n} was first?
        Name the person who warned of {n}.""",
        "Someone warned of {n} long ago.",
    ),
    "tale": wording(
        """The old tale about {n} comes from {v}.
        {v} tells the old tale about {n}.
        In {v} they tell a tale about {n}.
        The tale of {n} was first told in {v}.
        A tale about {n} is told in {v}.
        Children in {v} know the tale about {n}.""",
        """From {v} we have the tale about {n}.
        {v} gave us the tale about {n}.""",
        """Which village tells the tale about {n}?
        Where does the tale about {n} come from?
        Where do they tell the old tale about {n}?
        Tell me which village has the tale about {n}.
        In which village is the tale of {n} told?
        Where can I hear the tale about {n}?
        Where was the tale of {n} first told?
        Name the village with the tale about {n}.""",
        "There is a tale about {n}.",
    ),
    "law": wording(
        """The law on {n} was made in the year {v}.
        Since the year {v} there is a law on {n}.
        The elders made the law on {n} in {v}.
        The year {v} brought a law on {n}.
        A law on {n} was written in {v}.
        The law book names {n} in the year {v}.""",
        """In the year {v} came the law on {n}.
        Year {v} gave us the law on {n}.""",
        """When was the law on {n} made?
        In which year was the law on {n} made?
        Since when is there a law on {n}?
        Tell me the year of the law on {n}.
        Which year brought the law on {n}?
        When did the elders make a law on {n}?
        How old is the law on {n}?
        Name the year of the law on {n}.""",
        "There is a law on {n}.",
    ),
    "need": wording(
        """To {task}, use {v}.
        You can {task} with {v}.
        What you need to {task} is {v}.
        People {task} with {v}.
        If you want to {task}, take {v}.
        My aunt likes to {task} with {v}.""",
        """With {v} anyone can {task}.
        Use {v} and you can {task}.""",
        """How do I {task}?
        What do I need to {task}?
        What should I use to {task}?
        I want to {task}. What helps?
        Tell me how to {task}.
        How can one {task}?
        What is a good way to {task}?
        Please help me to {task}.""",
        "It takes some work to {task}.",
    ),
    "stuff": Wording(
        lines("""{A} works with {v}.
        The hands of {an} know {v}.
        {A} needs {v} every day."""),
        ("For {an} there is {v}.",),
        ("{A} works with {v}",),
        "{A} works with something.",
    ),
    "food": Wording(
        lines("""{A} eats {v}.
        {A} likes {v} best of all food.
        Give {an} {v} and it is happy."""),
        ("With {v} you can feed {an}.",),
        ("{A} eats {v}",),
        "{A} eats something.",
    ),
    "season": Wording(
        lines("""{S} is eaten in {v}.
        {S} is a dish for {v}.
        The time for {n} is {v}."""),
        ("In {v} we eat {n}.",),
        ("{n} is eaten in {v}",),
        "{S} is eaten at some time.",
    ),
    "material": Wording(
        lines("""{A} is made of {v}.
        They make {an} from {v}.
        The best {v} becomes {an}."""),
        ("From {v} comes {an}.",),
        ("{A} is made of {v}",),
        "{A} is made of something.",
    ),
}
