"""Whether the description of a series speaks of a contrast agent, in the languages of the people who write it.

Kept twice, word for word, in med3d_pipeline.reading and in the service's working_copy: what workers read of a
description must say what the whole of it says, and neither package imports the other.
"""

import re
import unicodedata

MOST_CHARACTERS = 256  # far above what the standard allows; the rest is not read
_AGENT = (
    r"gd|gad|gado\w*|gadavist|dotarem|magnevist|omniscan|prohance|multihance|clariscan|vueway|elucirem|optimark|primovist"
    r"|dtpa|ce|km|kmgabe|cm|mdc|m\.d\.c\.?|civ|contrast(?:[eo]|ed|mittel)?|kontras(?!ts[i\u0131])[tc]\w*|контраст\w*"
    r"|inj|injection|injecte|injiziert|iniezione|varjoaine\w*|tehoste\w*|σκιαγραφ\w*"
)
_DENIAL = (
    r"pre|non?|not|without|w/o|wo|ohne|o|keine?|sans|sin|sem|senza|zonder|geen|utan|uden|uten|ingen|bez|ilman|без|χωρις"
    r"|before|vor|avant|prima|antes|fore|przed|ennen|до|перед|πριν"
)
_WITHOUT_AGENT = re.compile(
    rf"(?<!\w)(?:{_DENIAL})[. ]*(?:{_AGENT}|c)(?!\w)(?: (?:d[ei] )?(?:{_AGENT})(?!\w))*|(?<!\w)s/c(?!\w)"
)
# What the word means that is no agent: how well tissues are told apart.
_OF_TISSUES = re.compile(
    r"(?<!\w)(?:high|low|multi|tissue|soft|image|white|matter|optimi[sz]ed|improved|best) contrast(?!\w)"
    r"|(?<!\w)contrast (?:optimi[sz]ed|ratio|weighted|resolution)(?!\w)"
)
# "Post" alone, or before what describes a scan, means after the agent; before other words after something else.
_AFTER_POST = (
    r"\d\w*|\w*t[12]\w*|[23]d|ax\w*|cor\w*|sag\w*|tra|trans\w*|obl\w*|\w*mpr\w*|bravo|f?spgr|vibe|space|cube|vista|tfe|ffe|t?se|gre"
    r"|flair|dixon|fs|fat\w*|sat|iso\w*|min\w*|iv|con|cont|run|rpt|repeat|nav\w*|stealth|recon|brain|head|wb|delay\w*|dyn\w*"
)
_WITH_AGENT = re.compile(
    rf"(?<!\w)(?:{_AGENT}|post(?:gd|gad|gado\w*|km|cont\w*|con)|post(?= *$| (?:{_AFTER_POST}|{_AGENT})(?!\w)| *[^\w ])"
    r"|t1c|t1 ?(?:ce|gd|km)|gdt1w?|ce ?[23]d|c ?\+|[cw]/c|iv ?\+|po kl|\u0441 ку)(?!\w)"
    r"|\+ ?(?:c|k|iv)(?!\w)"
)
_CHINESE_WITHOUT = re.compile("(?:造影|[増增][強强])前|[非无無](?:造影|[増增][強强])|조영 ?전|비 ?조영")
_CHINESE_WITH = re.compile("造影|[増增][強强]|조영")


def speaks_of_agent(description: str) -> bool:
    """Tell whether the words say that there was, or may have been, a contrast agent."""
    text = unicodedata.normalize("NFC", description[:MOST_CHARACTERS])
    if _CHINESE_WITH.search(_CHINESE_WITHOUT.sub(" ", text)):
        return True
    letters = (each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    plain = "".join(letters).lower().replace("_", " ").replace("-", " ")
    return _WITH_AGENT.search(_OF_TISSUES.sub(" ", _WITHOUT_AGENT.sub(" ", plain))) is not None
