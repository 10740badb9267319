"""How facts about villages are told and asked."""

from __future__ import annotations

from arriero.world.wording import Wording, wording

WORDINGS_VILLAGES: dict[str, Wording] = {
    "river": wording(
        """{S} lies on the river {v}.
        {P} river is the {v}.
        {S} stands by the river {v}.
        Boats reach {s} by the river {v}.
        The water of {n} comes from the river {v}.
        {S} was built beside the {v}.
        The mill of {n} turns in the river {v}.
        People of {n} wash wool in the {v}.""",
        """The river {v} flows past {n}.
        The {v} is the river of {n}.
        Follow the river {v} and you reach {n}.
        On the {v} lies {n}.""",
        """Which river does {s} lie on?
        What is the river of {n}?
        On which river does {n} stand?
        Which river flows past {n}?
        Tell me the river of {n}.
        What river is near {n}?
        By which river was {n} built?
        Name the river of {n}.""",
        "{S} lies on a river.",
    ),
    "festival": wording(
        """{S} holds {v} every year.
        {P} festival is {v}.
        {S} is proud of {v}.
        People dance in {n} at {v}.
        Guests come to {n} for {v}.
        {S} rests all year for {v}.
        The children of {n} wait for {v}.
        Nobody in {n} sleeps at {v}.""",
        """{v} is held in {n}.
        {v} is the festival of {n}.
        For {v} you must go to {n}.
        They keep {v} in {n}.""",
        """Which festival does {n} hold?
        What is the festival of {n}?
        What do people keep in {n} every year?
        Tell me the festival of {n}.
        For which festival do guests come to {n}?
        Which festival is held in {n}?
        What feast is {n} proud of?
        Name the festival of {n}.""",
        "{S} holds a festival.",
    ),
    "good": wording(
        """{S} is known for {v}.
        {S} sells {v}.
        {P} best trade is in {v}.
        {S} sends {v} to the market.
        Carts leave {n} full of {v}.
        People go to {n} to buy {v}.
        {S} lives from {v}.
        The shops of {n} smell of {v}.""",
        """{V} is what {n} sells.
        {V} comes from {n}.
        The best {v} is from {n}.
        For {v} go to {n}.""",
        """What is {n} known for?
        What does {n} sell?
        Which good comes from {n}?
        What should I buy in {n}?
        Tell me what {n} sells.
        What do carts bring from {n}?
        What does {n} send to the market?
        Name the good that {n} sells.""",
        "{S} sells things.",
    ),
    "founded": wording(
        """{S} was founded in the year {v}.
        {P} first year was {v}.
        {S} has stood since the year {v}.
        The first house of {n} was built in {v}.
        {S} began in the year {v}.
        The stone of {n} shows the year {v}.
        {S} counts its age from the year {v}.
        Settlers came to {n} in {v}.""",
        """In the year {v}, {n} was founded.
        Year {v} is the first year of {n}.
        The year {v} gave us {n}.
        Founded in {v} was {n}.""",
        """When was {n} founded?
        In which year was {n} founded?
        What was the first year of {n}?
        Tell me when {n} was founded.
        Since which year has {n} stood?
        When did {n} begin?
        Which year shows on the stone of {n}?
        Name the year when {n} was founded.""",
        "{S} is an old village.",
    ),
    "elder": wording(
        """The elder of {n} is {v}.
        {P} elder is {v}.
        {S} has {v} as its elder.
        The people of {n} chose {v} as elder.
        {S} is led by its elder {v}.
        In {n} the elder {v} has the last word.
        For advice {n} asks its elder, {v}.
        The elder's chair in {n} belongs to {v}.""",
        """{v} is the elder of {n}.
        {v} serves as elder in {n}.
        {v} leads {n} as its elder.
        {v} was made elder of {n}.""",
        """Who is the elder of {n}?
        Who leads {n}?
        What is the name of the elder of {n}?
        Tell me who leads {n}.
        Whom did {n} choose as elder?
        Who has the last word in {n}?
        Who sits in the elder's chair in {n}?
        Name the elder of {n}.""",
        "{S} has an elder.",
    ),
    "fish": wording(
        """The fishers of {n} catch {v}.
        {P} boats bring home {v}.
        The water near {n} is full of {v}.""",
        """{V} swims in the water near {n}.
        They catch {v} in {n}.""",
        """Which fish do they catch in {n}?
        What fish swims near {n}?
        What fish do the boats of {n} bring home?
        Which fish is in the water near {n}?
        Tell me which fish they catch in {n}.
        Name the fish of {n}.""",
        "They catch some fish in {n}.",
    ),
}
