package pcapfilter

// isisTypes are the types of IS-IS packets (ISO/IEC 10589, clause 9) that a
// keyword stands for.
var isisTypes = map[string][]uint32{
	"l1": {15, 18, 24, 26, 17}, "l2": {16, 20, 25, 27, 17},
	"iih": {15, 16, 17}, "lsp": {18, 20}, "snp": {24, 25, 26, 27}, "csnp": {24, 25}, "psnp": {26, 27},
}

// controlField is a test of the first byte of LLC's control field (ISO/IEC
// 8802-2, clause 5.4).
type controlField struct{ mask, value uint32 }

// llcTypes are the types of LLC frames by name.
var llcTypes = map[string]controlField{
	"i": {0x01, 0}, "s": {0x03, 0x01}, "u": {0x03, 0x03},
	"rr": {0x0f, 0x01}, "rnr": {0x0f, 0x05}, "rej": {0x0f, 0x09},
	"ui": {0xef, 0x03}, "ua": {0xef, 0x63}, "disc": {0xef, 0x43}, "sabme": {0xef, 0x6f},
	"test": {0xef, 0xe3}, "xid": {0xef, 0xaf}, "frmr": {0xef, 0x87},
}

func (n *isisPacket) generate(g *generator) (*condition, error) {
	any := never
	for _, t := range isisTypes[n.name] {
		c, err := g.isisType(t, n.offset)
		if err != nil {
			return nil, err
		}
		any = or(any, c)
	}
	return any, nil
}

// isisType returns the condition that a frame is an IS-IS packet of a type,
// which the fifth byte of its header tells.
func (g *generator) isisType(number uint32, offset int) (*condition, error) {
	isis, err := g.isoProtocol(protoISIS.number, offset)
	if err != nil {
		return nil, err
	}
	return and(isis, is(g.load(g.isoHeader()+4, 1), number)), nil
}

func (n *llc) generate(g *generator) (*condition, error) {
	if g.header != headerEthernet || g.labels > 0 {
		return nil, errorAt(n.offset, "llc can be told on Ethernet only")
	}
	// A length in the place of the type, and not the one framing of IPX that
	// has no LLC header.
	c := and(not(check(g.load(g.typ, 2), greater, maxEthernetLength)), not(is(g.load(g.payload, 2), 0xffff)))
	if n.kind == "" {
		return c, nil
	}
	t := llcTypes[n.kind]
	return and(c, is(g.masked(g.load(g.payload+2, 1), t.mask), t.value)), nil
}
