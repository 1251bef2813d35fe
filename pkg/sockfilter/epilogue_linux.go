package sockfilter

import (
	"errors"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// stateEntries is how many flows a cutoff, and how many packets a dedup,
// remembers; the least recently used ones are forgotten.
const stateEntries = 65536

// Context fields in which a client's program hands over to the epilogue. The
// kernel clears them before it runs a filter; the first one stays 0.
const (
	skbVerdict = skbCB + 4
	labelPass  = "pass" // return the verdict
)

// Stack of the epilogue, below that of its dissector.
const (
	stackPacket  = -312 // a dedup's key, 64 bytes: flow, what tells packets apart, transport header
	stackSeen    = -328 // a dedup's value: time in ns, vantage point
	stackCount   = -344 // a cutoff's value, see there
	stackPayload = -352 // how much payload the frame has
	stackSeq     = -360 // a segment's sequence number, of its first byte of payload
	packetKeyLen = 64
	packetSegLen = 16
	flowKeyLen   = 40
)

// epilogue is the program that runs on frames that the client's program has
// accepted: rules that keep state count those only.
type epilogue struct {
	packets  *ebpf.Map // dedup's; nil = none
	payloads *ebpf.Map // cutoff's; nil = none
	prog     *ebpf.Program
}

func (c *Config) hasEpilogue() bool { return c.Cutoff > 0 || c.Dedup > 0 }

func (e *epilogue) load(c *Config, counters *ebpf.Map) (err error) {
	if c.Dedup > 0 {
		e.packets, err = newState("capstan_packets", packetKeyLen, 16)
		if err != nil {
			return kernelError("packets", err)
		}
	}
	if c.Cutoff > 0 {
		e.payloads, err = newState("capstan_flows", flowKeyLen, countLen)
		if err != nil {
			return kernelError("flows", err)
		}
	}
	e.prog, err = loadProgram("capstan_rules", e.program(c, counters))
	if err != nil {
		return kernelError("rules", err)
	}
	return nil
}

func newState(name string, keyLen, valueLen uint32) (*ebpf.Map, error) {
	return ebpf.NewMap(&ebpf.MapSpec{Name: name, Type: ebpf.LRUHash, KeySize: keyLen, ValueSize: valueLen, MaxEntries: stateEntries})
}

func (e *epilogue) close() error {
	// Closing nil maps and programs does nothing.
	return errors.Join(e.prog.Close(), e.packets.Close(), e.payloads.Close())
}

// goToEpilogue goes on with the epilogue, which doesn't come back. The verdict
// is in R0.
func goToEpilogue(slots *ebpf.Map) asm.Instructions {
	ins := asm.Instructions{asm.StoreMem(regCtx, skbVerdict, asm.R0, asm.Word)}
	ins = append(ins, tailCall(slots, slotEpilogue)...)
	return append(ins, // never: the slot is filled
		asm.LoadMem(asm.R0, regCtx, skbVerdict, asm.Word),
		asm.Return(),
	)
}

func (e *epilogue) program(c *Config, counters *ebpf.Map) asm.Instructions {
	d := dissector{found: "flow", none: labelPass}
	d.emit(asm.Mov.Reg(regCtx, asm.R1))
	d.dissect()
	d.at("flow")
	if c.Dedup > 0 {
		e.dedup(&d.assembly, c.Dedup)
	}
	if c.Cutoff > 0 {
		e.cutoff(&d.assembly, uint64(c.Cutoff))
	}
	d.at(labelPass)
	d.emit(asm.LoadMem(asm.R0, regCtx, skbVerdict, asm.Word), asm.Return())
	if c.Dedup > 0 {
		d.at(labelExcluded)
		d.emit(countersOf(counters)...)
		d.emit(count(counterRuled)...)
		d.at(labelDrop)
		d.emit(asm.Mov.Imm(asm.R0, 0), asm.Return())
	}
	return d.ins
}

// dedup excludes a packet that was seen within the window at another vantage
// point, which is an interface and a direction. The same packet again at the
// same point is another one: a sender that repeats itself.
func (e *epilogue) dedup(a *assembly, window time.Duration) {
	for i := int16(0); i < 40; i += 8 {
		a.emit(asm.LoadMem(asm.R1, asm.RFP, stackFlow+i, asm.DWord), asm.StoreMem(asm.RFP, stackPacket+i, asm.R1, asm.DWord))
	}
	a.emit(asm.LoadMem(asm.R1, asm.RFP, stackIdent, asm.DWord), asm.StoreMem(asm.RFP, stackPacket+40, asm.R1, asm.DWord))
	a.loadBytes(0, stackBytes, packetSegLen, "short")
	a.emit(
		asm.LoadMem(asm.R1, asm.RFP, stackBytes, asm.DWord),
		asm.LoadMem(asm.R2, asm.RFP, stackBytes+8, asm.DWord),
		asm.JNE.Imm(regProto, protoUDP, "segment"),
		// Where a checksum is offloaded, it isn't there at every point.
		asm.HostTo(asm.BE, asm.R1, asm.DWord),
		asm.RSh.Imm(asm.R1, 16),
		asm.Ja.Label("segment"),
	)
	a.at("short")
	a.emit(asm.Mov.Imm(asm.R1, 0), asm.Mov.Imm(asm.R2, 0))
	a.at("segment")
	a.emit(
		asm.StoreMem(asm.RFP, stackPacket+48, asm.R1, asm.DWord),
		asm.StoreMem(asm.RFP, stackPacket+56, asm.R2, asm.DWord),
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.RFP, stackSeen, asm.R0, asm.DWord),
		asm.LoadMem(asm.R1, regCtx, skbIfindex, asm.Word),
		asm.LSh.Imm(asm.R1, 1),
		asm.LoadMem(asm.R2, regCtx, skbPktType, asm.Word),
		skip(asm.JNE.Imm(asm.R2, unix.PACKET_OUTGOING, ""), 1),
		asm.Or.Imm(asm.R1, 1),
		asm.StoreMem(asm.RFP, stackSeen+8, asm.R1, asm.DWord),
	)
	a.lookUp(e.packets, stackPacket)
	a.emit(
		asm.JNE.Imm(asm.R0, 0, "seen before"),
		asm.Mov.Imm(asm.R4, unix.BPF_NOEXIST),
	)
	a.update(e.packets, stackPacket, stackSeen)
	a.emit(asm.Ja.Label("kept"))
	a.at("seen before")
	a.emit(
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.LoadMem(asm.R2, asm.R0, 8, asm.DWord),
		asm.LoadMem(asm.R3, asm.RFP, stackSeen, asm.DWord),
		asm.LoadMem(asm.R4, asm.RFP, stackSeen+8, asm.DWord),
		asm.JEq.Reg(asm.R2, asm.R4, "again"),
		asm.Mov.Reg(asm.R5, asm.R3),
		asm.Sub.Reg(asm.R5, asm.R1),
		asm.LoadImm(asm.R1, int64(window), asm.DWord),
		asm.JLE.Reg(asm.R5, asm.R1, labelExcluded),
	)
	a.at("again")
	a.emit(
		asm.StoreMem(asm.R0, 0, asm.R3, asm.DWord),
		asm.StoreMem(asm.R0, 8, asm.R4, asm.DWord),
	)
	a.at("kept")
	a.emit(asm.Mov.Imm(asm.R1, 0))
}

// lookUp sets R0 to the value of the key on the stack, or 0.
func (a *assembly) lookUp(m *ebpf.Map, key int32) {
	a.emit(
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, key),
		asm.FnMapLookupElem.Call(),
	)
}

// update stores key and value from the stack; R4 holds the flags.
func (a *assembly) update(m *ebpf.Map, key, value int32) {
	a.emit(
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, key),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, value),
		asm.FnMapUpdateElem.Call(),
	)
}
