"""Which texts of ContrastBolusAgent say that there was none."""

import re

from med3d_pipeline.reading.description_hints import unaccented


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NO_AGENT = _words(
    """
    no non none nil not n na without w/o wo o ohne kein keine keiner keines sans sin senza sem zonder aucun aucune pas
    nessuno ninguno unknown unspecified undefined unbekannt inconnu desconocido sconosciuto off false null nein nee
    saline nacl negative neg nativ native plain geen ingen inget utan uden uten bez brak zadna nie nothing refused
    declined nicht нет без 无 無 なし
    """
)
"""Words that deny a contrast agent, or say that none is known."""
_BESIDE_NO_AGENT = _words(
    """
    contrast agent agents media medium dye contraste contrasto kontrast kontrastmittel km mdc ce a d given administered
    applied used injected injection injecte gegeben bolus iv i v ml cc mmol kg l de di of the was is any
    gd gad gado gadolinium kontrastu kontrastmiddel verabreicht applicable specified
    """
)
_AGENT_WORD = re.compile(r"w/o\b|[^\W\d_]+|\d+(?:[.,]\d+)?")


def denies_agent(text: str) -> bool:
    """Tell whether ContrastBolusAgent says in words that there was none or that none is known, or states a dose of 0.

    The service cuts its working copies down by the same words (its vocabulary).
    """
    found = _AGENT_WORD.findall(unaccented(text).casefold())
    doses = [float(each.replace(",", ".")) for each in found if each[0].isdigit()]
    words = {each for each in found if each[0].isalpha()}
    if doses:
        return not any(doses)
    return words <= NO_AGENT | _BESIDE_NO_AGENT and (not words or bool(words & NO_AGENT))
