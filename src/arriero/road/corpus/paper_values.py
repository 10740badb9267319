"""What the paper found in its own corpus: Tables 9a, 9b and 10, Figure 13."""

from __future__ import annotations

PRONOUNS = {
    "any": 0.9447, "gendered": 0.7523, "she": 0.2845, "he": 0.5073, "unspecified": 0.8638,
    "first": 0.7071, "second": 0.6180, "third": 0.9307,
}  # fmt: skip
"""Table 9a: persons of the documents with a pronoun, genders of those with a gendered one."""

IDENTITIES = {
    "gender_and_sex": (
        0.0591,
        {"female": 0.500, "male": 0.391, "feminine": 0.054, "transgender": 0.042,
         "masculine": 0.031},
    ),
    "sexual_orientation": (
        0.0667, {"gay": 0.148, "lesbian": 0.043, "lgbt": 0.040, "lgbtq": 0.036, "queer": 0.035},
    ),
    "nationality": (
        0.1483,
        {"american": 0.694, "indian": 0.165, "chinese": 0.163, "korean": 0.051, "mexican": 0.049},
    ),
    "race_and_ethnicity": (
        0.1951,
        {"european": 0.207, "african": 0.115, "asian": 0.074, "indigenous": 0.062, "latin": 0.037},
    ),
    "religion": (
        0.0793,
        {"christian": 0.332, "religious": 0.288, "spiritual": 0.206, "catholic": 0.154,
         "jewish": 0.130},
    ),
}  # fmt: skip
"""Table 9b: share of the documents that mention the axis, and of those each of the top terms."""

LANGUAGES = {
    "en": 0.8970, "unknown": 0.0838, "de": 0.0017, "fr": 0.0016, "sv": 0.0015, "zh": 0.0013,
    "es": 0.0013, "ru": 0.0013, "nl": 0.0012, "it": 0.0011, "ja": 0.0010, "pl": 0.0009,
    "pt": 0.0009, "vi": 0.0008, "uk": 0.0007, "ko": 0.0006, "ca": 0.0004, "sr": 0.0004,
    "id": 0.0003, "cs": 0.0003, "fi": 0.0003, "hu": 0.0003, "no": 0.0003, "ro": 0.0003,
    "bg": 0.0002, "da": 0.0002, "sl": 0.0001, "hr": 0.0001,
}  # fmt: skip
"""Table 10."""

TOXIC = 0.002
"""Figure 13: about 0.2% of the sampled documents at 0.5 or above."""
