"""The contract of IRequestSigner: the signature of a request to an identity server."""

from __future__ import annotations

from regsys.interfaces import IRequestSigner
from regsys.testing.contracts.case import (
    Contract,
    MaybeAwaitable,
    part_of,
    yours,
)


class RequestSignerContract(Contract):
    """An IRequestSigner."""

    @yours
    def make(self) -> MaybeAwaitable[IRequestSigner]:
        """One that signs as any homeserver."""
        raise NotImplementedError()

    async def test_provides(self) -> None:
        """It has its method, with the arguments that regsys calls it with."""
        await part_of(IRequestSigner, self.make())

    async def test_header(self) -> None:
        """It returns one header, of the federation's scheme."""
        signer = await part_of(IRequestSigner, self.make())
        header = await signer.authorization(
            "POST", "/_matrix/identity/v2/3pid/unbind", "id.example", {"mxid": "@alice:a.example"}
        )
        rule = f"authorization: returns one header, which begins with X-Matrix: {header!r}"
        self.assertRegex(header, r"\AX-Matrix [ -~]+\Z", rule)
