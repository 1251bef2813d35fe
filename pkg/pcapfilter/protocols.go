package pcapfilter

// layer is where the header of a protocol sits.
type layer uint8

const (
	layerLink      layer = iota // it is the link header
	layerNetwork                // in the link header's payload, by an EtherType or SAP
	layerTransport              // in IPv4, IPv6 or both
	layerISO                    // in ISO's network layer, by the first byte
)

// family is a version of IP.
type family uint8

const (
	familyAny family = iota
	familyIPv4
	familyIPv6
)

// protocol is a protocol that the language has a keyword for.
type protocol struct {
	name   string
	layer  layer
	number uint32
	family family // of a layerTransport: the only one it is looked for in
	index  bool   // NAME[offset] is defined
	ports  bool   // its header begins with source and destination port
}

// The protocols that the generator needs by name.
var (
	protoLink  = &protocol{name: "ether", layer: layerLink, index: true}
	protoIP    = &protocol{name: "ip", layer: layerNetwork, number: etherIPv4, index: true}
	protoIP6   = &protocol{name: "ip6", layer: layerNetwork, number: etherIPv6, index: true}
	protoARP   = &protocol{name: "arp", layer: layerNetwork, number: etherARP, index: true}
	protoRARP  = &protocol{name: "rarp", layer: layerNetwork, number: etherRARP, index: true}
	protoTCP   = &protocol{name: "tcp", layer: layerTransport, number: 6, index: true, ports: true}
	protoUDP   = &protocol{name: "udp", layer: layerTransport, number: 17, index: true, ports: true}
	protoSCTP  = &protocol{name: "sctp", layer: layerTransport, number: 132, index: true, ports: true}
	protoICMP6 = &protocol{name: "icmp6", layer: layerTransport, number: 58, family: familyIPv6, index: true}
	protoISO   = &protocol{name: "iso", layer: layerNetwork, number: sapISO}
	protoISIS  = &protocol{name: "isis", layer: layerISO, number: 0x83}
)

// protocols are the keywords for protocols, by word. The several names of the
// link layer mean the same.
var protocols = map[string]*protocol{
	"ether": protoLink, "link": protoLink, "fddi": protoLink, "tr": protoLink, "wlan": protoLink, "ppp": protoLink, "slip": protoLink,

	"ip": protoIP, "ip6": protoIP6, "arp": protoARP, "rarp": protoRARP,
	"atalk":   {name: "atalk", layer: layerNetwork, number: etherAppleTalk, index: true},
	"aarp":    {name: "aarp", layer: layerNetwork, number: etherAARP},
	"decnet":  {name: "decnet", layer: layerNetwork, number: etherDECnet, index: true},
	"lat":     {name: "lat", layer: layerNetwork, number: 0x6004, index: true},
	"sca":     {name: "sca", layer: layerNetwork, number: 0x6007, index: true},
	"mopdl":   {name: "mopdl", layer: layerNetwork, number: 0x6001, index: true},
	"moprc":   {name: "moprc", layer: layerNetwork, number: 0x6002, index: true},
	"stp":     {name: "stp", layer: layerNetwork, number: 0x42},
	"ipx":     {name: "ipx", layer: layerNetwork, number: sapIPX},
	"netbeui": {name: "netbeui", layer: layerNetwork, number: sapNetBEUI},
	"iso":     protoISO,

	"esis": {name: "esis", layer: layerISO, number: 0x82}, "es-is": {name: "esis", layer: layerISO, number: 0x82},
	"isis": protoISIS, "is-is": protoISIS,
	"clnp": {name: "clnp", layer: layerISO, number: 0x81},

	"tcp": protoTCP, "udp": protoUDP, "sctp": protoSCTP, "icmp6": protoICMP6,
	"icmp": {name: "icmp", layer: layerTransport, number: 1, family: familyIPv4, index: true},
	"igmp": {name: "igmp", layer: layerTransport, number: 2, family: familyIPv4, index: true},
	"igrp": {name: "igrp", layer: layerTransport, number: 9, family: familyIPv4, index: true},
	"vrrp": {name: "vrrp", layer: layerTransport, number: 112, family: familyIPv4, index: true},
	"carp": {name: "carp", layer: layerTransport, number: 112, family: familyIPv4, index: true},
	"pim":  {name: "pim", layer: layerTransport, number: 103, index: true},
	"ah":   {name: "ah", layer: layerTransport, number: 51},
	"esp":  {name: "esp", layer: layerTransport, number: 50},
}

// unsupported are the keywords of pcap-filter(7) that are left out, and why.
var unsupported = map[string]string{
	"protochain": "it needs a loop, which classic BPF doesn't have",
	"gateway":    "it needs a look-up of names",
	"radio":      wireless, "type": wireless, "subtype": wireless, "dir": wireless, "direction": wireless,
	"addr1": wireless, "addr2": wireless, "addr3": wireless, "addr4": wireless, "ra": wireless, "ta": wireless,
	"address1": wireless, "address2": wireless, "address3": wireless, "address4": wireless,
	"geneve": "its inner frame has no fixed place", "vxlan": "its inner frame has no fixed place",
	"lane": atm, "metac": atm, "bcc": atm, "oam": atm, "oamf4": atm, "oamf4e": atm, "oamf4ec": atm, "oamf4s": atm, "oamf4sc": atm, "sc": atm,
	"ilmic": atm, "vpi": atm, "vci": atm, "connectmsg": atm, "metaconnect": atm,
	"on": pf, "ifname": pf, "rset": pf, "ruleset": pf, "rnr": pf, "rulenum": pf, "srnr": pf, "subrulenum": pf,
	"reason": pf, "action": pf,
	"fisu": ss7, "lssu": ss7, "lsu": ss7, "msu": ss7, "hfisu": ss7, "hlssu": ss7, "hmsu": ss7, "sio": ss7, "opc": ss7,
	"dpc": ss7, "sls": ss7, "hsio": ss7, "hopc": ss7, "hdpc": ss7, "hsls": ss7,
}

const (
	wireless = "802.11 link types are not supported"
	atm      = "ATM link types are not supported"
	pf       = "BSD's packet filter logs are not supported"
	ss7      = "SS7 link types are not supported"
)

// ipProtocolNames are the names that "proto" takes, as in Debian's
// /etc/protocols.
var ipProtocolNames = map[string]uint32{
	"hopopt": 0, "icmp": 1, "igmp": 2, "ggp": 3, "ipencap": 4, "st": 5, "tcp": 6, "egp": 8, "igp": 9, "pup": 12, "udp": 17,
	"hmp": 20, "xns-idp": 22, "rdp": 27, "iso-tp4": 29, "dccp": 33, "xtp": 36, "ddp": 37, "idpr-cmtp": 38, "ipv6": 41,
	"ipv6-route": 43, "ipv6-frag": 44, "idrp": 45, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "skip": 57, "ipv6-icmp": 58,
	"icmp6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "rspf": 73, "vmtp": 81, "eigrp": 88, "ospf": 89, "ax.25": 93, "ipip": 94,
	"etherip": 97, "encap": 98, "pim": 103, "ipcomp": 108, "vrrp": 112, "l2tp": 115, "isis": 124, "sctp": 132, "fc": 133,
	"mobility-header": 135, "udplite": 136, "mpls-in-ip": 137, "manet": 138, "hip": 139, "shim6": 140, "wesp": 141, "rohc": 142,
}

// isoProtocolNames are the names that "iso proto" takes.
var isoProtocolNames = map[string]uint32{"clnp": 0x81, "esis": 0x82, "isis": 0x83}

// linkProtocolNames are the names that "ether proto" takes.
var linkProtocolNames = map[string]uint32{
	"aarp": etherAARP, "arp": etherARP, "atalk": etherAppleTalk, "decnet": etherDECnet, "ip": etherIPv4, "ip6": etherIPv6, "lat": 0x6004,
	"loopback": 0x9000, "mopdl": 0x6001, "moprc": 0x6002, "rarp": etherRARP, "sca": 0x6007, "lldp": 0x88cc, "slow": 0x8809,
	"iso": sapISO, "stp": 0x42, "ipx": sapIPX, "netbeui": sapNetBEUI,
}
