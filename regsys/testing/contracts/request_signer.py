"""The contract of IRequestSigner: the signature of a request to an identity server."""

from __future__ import annotations

from regsys.interfaces import IRequestSigner
from regsys.testing.contracts.case import Contract
from regsys.testing.provides import provides


class RequestSignerContract(Contract):
    """An IRequestSigner."""

    def make(self) -> IRequestSigner:
        """One that signs as any homeserver."""
        raise NotImplementedError()

    def test_provides(self) -> None:
        """It has its method, with the arguments that regsys calls it with."""
        provides(IRequestSigner, self.make())

    async def test_header(self) -> None:
        """It returns one header, of the federation's scheme."""
        header = await self.make().authorization(
            "POST", "/_matrix/identity/v2/3pid/unbind", "id.example", {"mxid": "@alice:a.example"}
        )
        self.assertRegex(header, r"\AX-Matrix [ -~]+\Z")
