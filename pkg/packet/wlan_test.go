package packet

import "slices"

// snap is an LLC header with SNAP.
func snap(typ uint16) []byte { return join([]byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(typ)) }

// wlan is the header of an 802.11 frame with n bytes, all other fields 0.
func wlan(kind, flags byte, n int) []byte { return join([]byte{kind, flags}, make([]byte, n-2)) }

// wlanCases are those of 802.11 in all its forms, and of other links that are rare.
func wlanCases() []decodeCase {
	const ok = OutcomeTCP
	start := join(wlan(0x08, 0x06, 24), snap(0x0800), v4())
	return []decodeCase{
		{name: "fddi", link: 10, data: join([]byte{0x50}, make([]byte, 12), snap(0x0800), v4()), want: ok, payload: payload},
		{name: "fddi, synchronous", link: 10, data: join([]byte{0xd7}, make([]byte, 12), snap(0x86dd), v6()), want: ok, payload: payload, ipv6: true},
		{name: "fddi station management", link: 10, data: join([]byte{0x41}, make([]byte, 12), snap(0x0800), v4()), want: OutcomeNotIP},
		{name: "pflog", link: 117, data: join([]byte{61, 2}, make([]byte, 62), v4()), want: ok, payload: payload},
		{name: "pflog of OpenBSD, ipv6", link: 117, data: join([]byte{100, 24}, make([]byte, 98), v6()), want: ok, payload: payload, ipv6: true},
		{name: "pflog overruns", link: 117, data: []byte{61, 2, 0, 0, 0, 0, 0, 0}, want: OutcomeMalformed},

		{name: "802.11", link: 105, want: ok, payload: payload, data: join(wlan(0x08, 0x02, 24), snap(0x0800), v4(), make([]byte, 4))},
		{name: "802.11 without checksum", link: 105, want: ok, payload: payload, data: join(wlan(0x08, 0x01, 24), snap(0x0800), v4())},
		{name: "802.11 with four addresses", link: 105, want: ok, payload: payload, ipv6: true, data: join(wlan(0x08, 0x03, 30), snap(0x86dd), v6())},
		{name: "802.11 qos", link: 105, want: ok, payload: payload, data: join(wlan(0x88, 0x02, 26), snap(0x0800), v4())},
		{name: "802.11 qos with HT control", link: 105, want: ok, payload: payload, data: join(wlan(0x88, 0x82, 30), snap(0x0800), v4())},
		{name: "802.11 qos with four addresses", link: 105, want: ok, payload: payload, data: join(wlan(0x88, 0x03, 32), snap(0x0800), v4())},
		{name: "802.11 data with an acknowledgement", link: 105, want: ok, payload: payload, data: join(wlan(0x18, 0x02, 24), snap(0x0800), v4())},
		{name: "802.11, the start of a fragmented packet", link: 105, want: ok, payload: payload[:5], missing: len(payload) - 5,
			data: slices.Clip(start[:len(start)-len(payload)+5])},
		{name: "802.11, the rest of one", link: 105, want: OutcomeNotIP, data: join(wlan(0x08, 0x02, 22), []byte{1, 0}, snap(0x0800), v4())},
		{name: "802.11 with several packets", link: 105, want: OutcomeNotIP, data: join(wlan(0x88, 0x02, 24), []byte{0x80, 0}, snap(0x0800), v4())},
		{name: "802.11 encrypted", link: 105, want: OutcomeNotIP, data: join(wlan(0x08, 0x42, 24), snap(0x0800), v4())},
		{name: "802.11 without data", link: 105, want: OutcomeNotIP, data: wlan(0x48, 0x01, 24)},
		{name: "802.11 acknowledgement", link: 105, want: OutcomeNotIP, data: wlan(0xd4, 0, 10)},
		{name: "802.11 beacon", link: 105, want: OutcomeNotIP, data: wlan(0x80, 0, 60)},
		{name: "802.11 arp", link: 105, want: OutcomeNotIP, data: join(wlan(0x08, 0x02, 24), snap(0x0806), make([]byte, 28))},
		{name: "802.11 too short", link: 105, want: OutcomeMalformed, data: wlan(0x88, 0x02, 25)},
		{name: "radiotap", link: 127, want: ok, payload: payload, data: join([]byte{0, 0, 8, 0, 0, 0, 0, 0}, wlan(0x08, 0x02, 24), snap(0x0800), v4())},
		{name: "radiotap, padded", link: 127, want: ok, payload: payload,
			data: join([]byte{0, 0, 9, 0, 2, 0, 0, 0, 0x30}, wlan(0x88, 0x02, 28), snap(0x0800), v4(), make([]byte, 4))},
		{name: "radiotap, padded, more fields", link: 127, want: ok, payload: payload,
			data: join([]byte{0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0}, make([]byte, 12), []byte{0x20}, wlan(0x88, 0x02, 28), snap(0x0800), v4())},
		{name: "radiotap, no padding needed", link: 127, want: ok, payload: payload,
			data: join([]byte{0, 0, 9, 0, 2, 0, 0, 0, 0x20}, wlan(0x08, 0x02, 24), snap(0x0800), v4())},
		{name: "radiotap, endless fields", link: 127, want: OutcomeMalformed,
			data: join([]byte{0, 0, 16, 0, 0, 0, 0, 0x80, 0, 0, 0, 0x80, 0, 0, 0, 0x80}, wlan(0x08, 0x02, 24), snap(0x0800), v4())},
		{name: "radiotap too short", link: 127, want: OutcomeMalformed, data: join([]byte{0, 0, 7, 0, 0, 0, 0, 0}, wlan(0x08, 0x02, 24))},
		{name: "radiotap overruns", link: 127, want: OutcomeMalformed, data: join([]byte{0, 0, 99, 0, 0, 0, 0, 0}, wlan(0x08, 0x02, 24))},
		{name: "radiotap of another version", link: 127, want: OutcomeNotIP, data: join([]byte{1, 0, 8, 0, 0, 0, 0, 0}, wlan(0x08, 0x02, 24), snap(0x0800), v4())},
		{name: "prism", link: 119, want: ok, payload: payload, data: join([]byte{0x44, 0, 0, 0, 144, 0, 0, 0}, make([]byte, 136), wlan(0x08, 0x02, 24), snap(0x0800), v4(), make([]byte, 4))},
		{name: "prism, big-endian", link: 119, want: ok, payload: payload, data: join(be32(0x41, 144), make([]byte, 136), wlan(0x08, 0x02, 24), snap(0x0800), v4())},
		{name: "prism too short", link: 119, want: OutcomeMalformed, data: join(be32(0x41, 20), make([]byte, 136))},
		{name: "avs as prism", link: 119, want: ok, payload: payload, data: join(be32(0x80211001, 64), make([]byte, 56), wlan(0x08, 0x02, 24), snap(0x0800), v4())},
		{name: "avs", link: 163, want: ok, payload: payload, data: join(be32(0x80211002, 64), make([]byte, 56), wlan(0x88, 0x02, 26), snap(0x0800), v4())},
		{name: "avs of another kind", link: 163, want: OutcomeNotIP, data: join(be32(0x80221002, 64), make([]byte, 56), wlan(0x88, 0x02, 26), snap(0x0800), v4())},
		{name: "avs overruns", link: 163, want: OutcomeMalformed, data: join(be32(0x80211002, 1<<31), make([]byte, 56))},
		{name: "ppi", link: 192, want: ok, payload: payload, data: join([]byte{0, 0, 32, 0, 105, 0, 0, 0}, make([]byte, 24), wlan(0x08, 0x02, 24), snap(0x0800), v4())},
		{name: "ppi around something else", link: 192, want: OutcomeNotIP, data: join([]byte{0, 0, 8, 0, 1, 0, 0, 0}, ether(0x0800, v4()))},
		{name: "an unknown link", link: 147, data: ether(0x0800, v4()), want: OutcomeNotIP},
	}
}
