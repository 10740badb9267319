"""How facts about people are told and asked."""

from __future__ import annotations

from arriero.world.wording import Wording, wording

WORDINGS_PEOPLE: dict[str, Wording] = {
    "home": wording(
        """{S} lives in {v}.
        {P} home is {v}.
        {S} comes from {v}.
        {S} has a house in {v}.
        {P} house stands in {v}.
        {S} sleeps under a roof in {v}.
        {S} calls {v} home.
        You can find {o} in {v}.""",
        """{v} is the home of {n}.
        In {v} lives {n}.
        One house in {v} belongs to {n}.
        Among the people of {v} is {n}.""",
        """Where does {s} live?
        Which village does {s} live in?
        In which village is {p} home?
        What is {p} home village?
        Tell me where {s} lives.
        Which village does {s} come from?
        Where is {p} house?
        Name the village where {s} lives.""",
        "{S} lives in one of the villages.",
    ),
    "trade": wording(
        """{S} is {a}.
        {S} works as {a}.
        {P} trade is that of {a}.
        {S} earns bread as {a}.
        {S} learned to be {a}.
        {S} has been {a} for years.
        Everyone knows {o} as {a}.
        By trade {s} is {a}.""",
        """One good {v} is {n}.
        The {v} you want is {n}.
        Call for a {v} and {n} will come.
        A {v} by the name of {n} works here.""",
        """What is {p} trade?
        What does {s} do for work?
        Which trade does {s} follow?
        What work does {s} do?
        Tell me what {s} does for a living.
        How does {s} earn bread?
        What is {p} work?
        Name the trade of {o}.""",
        "{S} has a trade in the valley.",
    ),
    "animal": wording(
        """{S} keeps {a}.
        {P} animal is {a}.
        {S} owns {a}.
        {S} feeds {a} every morning.
        {S} walks with {a}.
        At home {s} has {a}.
        {P} dearest friend is {a}.
        {P} {v} is not for sale.""",
        """A {v} belongs to {n}.
        The {v} by the gate is owned by {n}.
        A {v} follows {n} all day.
        There goes a {v}, and behind it {n}.""",
        """Which animal does {s} keep?
        What animal does {s} own?
        What is {p} animal?
        Tell me which animal {s} has.
        Which animal lives with {o}?
        What animal does {s} feed?
        Which animal belongs to {o}?
        Name the animal that {s} keeps.""",
        "{S} keeps some animal.",
    ),
    "dish": wording(
        """{S} likes {v} best.
        {P} favorite dish is {v}.
        {S} loves to eat {v}.
        {S} asks for {v} at every feast.
        {S} cooks {v} on holidays.
        Nothing tastes better to {o} than {v}.
        {S} could eat {v} all week.
        For {o} the best dish is {v}.""",
        """{V} is the favorite dish of {n}.
        {V} is what {n} likes best.
        If there is {v}, you will see {n}.
        {V} on the table makes {n} smile.""",
        """Which dish does {s} like best?
        What is {p} favorite dish?
        What does {s} love to eat?
        Which dish does {s} like?
        Tell me which dish {s} likes.
        What should I cook for {o}?
        What food makes {o} happy?
        Name the dish that {s} loves.""",
        "{S} likes good food.",
    ),
    "instrument": wording(
        """{S} plays the {v}.
        {P} instrument is the {v}.
        {S} makes music on the {v}.
        {S} learned the {v} as a child.
        In the evening {s} plays the {v}.
        {S} brings the {v} to every dance.
        Nobody else plays the {v} like {o}.
        {S} owns a fine {v}.""",
        """The {v} is played by {n}.
        When you hear the {v}, it is {n}.
        That {v} belongs to {n}.
        On the {v} we hear {n}.""",
        """Which instrument does {s} play?
        What does {s} play at dances?
        What is {p} instrument?
        Tell me which instrument {s} plays.
        On which instrument does {s} make music?
        What instrument does {s} own?
        What music does {s} make?
        Name the instrument of {o}.""",
        "{S} plays some instrument.",
    ),
    "born": wording(
        """{S} was born in the year {v}.
        {P} birth year is {v}.
        {S} came into the world in {v}.
        The year {v} saw {o} born.
        {S} has lived since the year {v}.
        {P} mother had {o} in the year {v}.
        The book says {s} was born in {v}.
        {P} life began in {v}.""",
        """In the year {v}, {n} was born.
        The child of the year {v} is {n}.
        Year {v} gave us {n}.
        Born in {v} was {n}.""",
        """When was {s} born?
        In which year was {s} born?
        What is {p} birth year?
        Tell me the year {s} was born.
        Which year was {o} born in?
        Since which year has {s} lived?
        When did {p} life begin?
        Name the birth year of {o}.""",
        "{S} was born some years ago.",
    ),
}
