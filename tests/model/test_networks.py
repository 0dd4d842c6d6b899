"""Which addresses count as one (contract B16.10)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from regsys.model.networks import address_key, site_key


class NetworksTests(SynchronousTestCase):
    def test_keys(self) -> None:
        """IPv4 counts by address however it is written, IPv6 by its /64, others unchanged."""
        for address, key in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::FFFF:c000:0207", "192.0.2.7"),
            ("64:ff9b::192.0.2.7", "192.0.2.7"),
            ("64:FF9B::c000:207", "192.0.2.7"),
            ("64:ff9b::1:c000:207", "64:ff9b::/64"),
            ("64:ff9b:1::c000:207", "64:ff9b:1::/64"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::", "2001:db8:1:3::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("fe80::1%2", "fe80::/64"),
            ("::1", "::/64"),
            ("/run/regsys.sock", "/run/regsys.sock"),
            ("unix", "unix"),
            ("", ""),
        ]:
            self.assertEqual(address_key(address), key)

    def test_sites(self) -> None:
        """An IPv6 network belongs to its /48; IPv4 and others to nothing."""
        for key, site in [
            ("2001:db8:1:2::/64", "2001:db8:1::/48"),
            ("2001:db8:1::/64", "2001:db8:1::/48"),
            ("2001:db8:2:2::/64", "2001:db8:2::/48"),
            ("email 2001:db8:1:2::/64", "email 2001:db8:1::/48"),
            ("::/64", "::/48"),
            ("192.0.2.7", None),
            ("email 192.0.2.7", None),
            ("unix", None),
            ("/run/64", None),
            ("@alice:test.example", None),
            ("", None),
        ]:
            self.assertEqual(site_key(key), site)
