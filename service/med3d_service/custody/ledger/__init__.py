"""The accounting: what was acknowledged is answered, in work, or waits its turn; nothing else may be true."""

from med3d_service.custody.ledger.checking import Ledger
from med3d_service.custody.ledger.report import ACCOUNTS, LedgerFinding, LedgerReport

__all__ = ["ACCOUNTS", "Ledger", "LedgerFinding", "LedgerReport"]
