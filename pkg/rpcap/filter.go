package rpcap

import "encoding/binary"

// Instruction is one instruction of a classic BPF program
// (struct rpcap_filterbpf_insn). It has the fields of bpf.RawInstruction in
// golang.org/x/net/bpf and converts to it.
type Instruction struct {
	Op     uint16
	Jt, Jf uint8
	K      uint32
}

const (
	filterHeaderLen = 8
	filterInsnLen   = 8
	filterTypeBPF   = 1
)

// Texts with which the reference refuses a filter (daemon_unpackapplyfilter).
const (
	TextFilterType    = "Only BPF/NPF filters are currently supported"
	TextFilterTooLong = "Filter program is larger than the maximum size of 8192 instructions"
)

// appendFilter appends struct rpcap_filter and its instructions.
func appendFilter(dst []byte, filter []Instruction) []byte {
	dst = binary.BigEndian.AppendUint16(dst, filterTypeBPF)
	dst = append(dst, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(filter)))
	for _, i := range filter {
		dst = binary.BigEndian.AppendUint16(dst, i.Op)
		dst = append(dst, i.Jt, i.Jf)
		dst = binary.BigEndian.AppendUint32(dst, i.K)
	}
	return dst
}

// decodeFilter reads what appendFilter wrote, checking in the reference's order.
func decodeFilter(c *cursor) []Instruction {
	kind := c.u16("filtertype")
	c.u16("dummy")
	count := c.u32("nitems")
	if c.err == nil && kind != filterTypeBPF {
		c.reject("filtertype", filterHeaderLen, int(kind), filterTypeBPF, TextFilterType)
	}
	if c.err == nil && count > MaxFilterLen {
		c.reject("nitems", 4, int(count), MaxFilterLen, TextFilterTooLong)
	}
	raw := c.bytes("instructions", int(count)*filterInsnLen)
	if len(raw) == 0 {
		return nil
	}
	filter := make([]Instruction, 0, count)
	for ; len(raw) > 0; raw = raw[filterInsnLen:] {
		filter = append(filter, Instruction{
			Op: binary.BigEndian.Uint16(raw),
			Jt: raw[2],
			Jf: raw[3],
			K:  binary.BigEndian.Uint32(raw[4:]),
		})
	}
	return filter
}

// UpdateFilterRequest replaces the filter of a running capture.
type UpdateFilterRequest struct {
	Filter []Instruction // owned by the message after Decode
}

// Type returns [TypeUpdateFilterReq].
func (*UpdateFilterRequest) Type() Type { return TypeUpdateFilterReq }

func (*UpdateFilterRequest) headerValue() uint16 { return 0 }

func (m *UpdateFilterRequest) appendBody(dst []byte) []byte { return appendFilter(dst, m.Filter) }

func (m *UpdateFilterRequest) decodeBody(_ uint16, c cursor) error {
	m.Filter = decodeFilter(&c)
	return c.done()
}
