package sockfilter

import (
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"capstan/pkg/capture"
)

// Labels of the prologue.
const (
	labelOthers    = "others"     // not a packet of our own
	labelClient    = "client"     // go on to the client's program
	labelOtherFlow = "other flow" // count, then as excluded
	labelExcluded  = "excluded"   // count and drop
	labelDrop      = "drop"
	labelTagged    = "tagged"   // go on to the program for frames with a tag apart
	labelInPlace   = "in place" // go on to the program for frames with a tag in place
	labelInactive  = "inactive" // there is no program
)

// Registers of the prologue, beside regCtx.
const regCounters = asm.R9 // the value of this processor

// prologue is the program that sockets have attached. It counts the frame,
// applies the rules of the Config and jumps to the client's program. A tail
// call, and not a call: replacing the program is then one map update, whatever
// its size, while attached programs are charged to the socket
// (net.core.optmem_max).
func (f *Filter) prologue() asm.Instructions {
	ins := append(asm.Instructions{asm.Mov.Reg(regCtx, asm.R1)}, countersOf(f.counters)...)
	ins = append(ins, count(counterSeen)...)
	ins = append(ins, f.cfg.rules()...)
	ins = append(ins, f.dispatch()...)
	inactive := count(counterInactive) // the slot is empty
	inactive[0] = inactive[0].WithSymbol(labelInactive)
	ins = append(ins, inactive...)
	if f.cfg.excludes() {
		ins = append(ins, asm.Ja.Label(labelDrop))
		if f.cfg.Flows > 1 {
			other := count(counterOtherFlows)
			other[0] = other[0].WithSymbol(labelOtherFlow)
			ins = append(ins, other...) // and excluded
		}
		excluded := count(counterRuled)
		excluded[0] = excluded[0].WithSymbol(labelExcluded)
		ins = append(ins, excluded...)
	}
	return append(ins,
		asm.Mov.Imm(asm.R0, 0).WithSymbol(labelDrop),
		asm.Return(),
	)
}

// dispatch goes on to the client's program for the frame's kind of tag.
func (f *Filter) dispatch() asm.Instructions {
	var a assembly
	a.at(labelClient)
	a.emit(
		asm.LoadMem(asm.R1, regCtx, skbVLANPresent, asm.Word),
		asm.JNE.Imm(asm.R1, 0, labelTagged),
	)
	inPlaceToo := slices.Contains(f.cfg.View.taggings(), inPlace)
	if inPlaceToo {
		a.emit(
			asm.LoadMem(asm.R1, regCtx, skbProtocol, asm.Word),
			asm.HostTo(asm.BE, asm.R1, asm.Half),
			asm.JEq.Imm(asm.R1, etherTypeVLAN, labelInPlace),
			asm.JEq.Imm(asm.R1, etherTypeQinQ, labelInPlace),
		)
	}
	a.emit(tailCall(f.slots, int32(untagged))...)
	a.emit(asm.Ja.Label(labelInactive))
	if inPlaceToo {
		a.at(labelInPlace)
		a.emit(tailCall(f.slots, int32(inPlace))...)
		a.emit(asm.Ja.Label(labelInactive))
	}
	a.at(labelTagged)
	a.emit(tailCall(f.slots, int32(tagged))...)
	return a.ins
}

// tailCall goes on with the program in a slot, if there is one. The index is a
// constant, which lets the kernel make it a plain jump.
func tailCall(slots *ebpf.Map, slot int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, regCtx),
		asm.LoadMapPtr(asm.R2, slots.FD()),
		asm.Mov.Imm(asm.R3, slot),
		asm.FnTailCall.Call(),
	}
}

// countersOf sets regCounters to this processor's counters.
func countersOf(counters *ebpf.Map) asm.Instructions {
	return asm.Instructions{
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, counters.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, labelDrop), // never: the key exists
		asm.Mov.Reg(regCounters, asm.R0),
	}
}

// count adds 1 to a counter of this processor. The addition is atomic since
// frames on their way out may meet the filter in a preemptible context.
func count(counter int16) asm.Instructions {
	add := asm.StoreXAdd(regCounters, asm.R1, asm.DWord)
	add.Offset = counter
	return asm.Instructions{asm.Mov.Imm(asm.R1, 1), add}
}

// rules applies the rules of c, the cheap ones first.
func (c *Config) rules() (ins asm.Instructions) {
	if c.Interfaces != nil {
		ins = append(ins, c.Interfaces.exclude()...)
	}
	ins = append(ins, c.excludeByDirection()...)
	if c.Self != nil {
		ins = append(ins, c.Self.exclude()...)
		ins = append(ins, asm.Mov.Imm(asm.R1, 0).WithSymbol(labelOthers))
	}
	if c.selectsFlows() {
		ins = append(ins, c.selectFlow()...)
	}
	return ins
}

// excludes reports whether any rule can exclude a frame.
func (c *Config) excludes() bool {
	return c.LoopbackInterface != 0 || c.Direction != capture.DirectionUnknown || c.Self != nil || c.Interfaces != nil || c.selectsFlows()
}

func (c *Config) selectsFlows() bool { return c.Shard.Count > 1 || c.Flows > 1 }

// excludeByDirection excludes loopback's outgoing copies and frames of the
// unwanted direction.
func (c *Config) excludeByDirection() asm.Instructions {
	packetType := asm.LoadMem(asm.R1, regCtx, skbPktType, asm.Word)
	var ins asm.Instructions
	if c.LoopbackInterface != 0 {
		ins = append(ins,
			packetType,
			skip(asm.JNE.Imm(asm.R1, unix.PACKET_OUTGOING, ""), 2),
			asm.LoadMem(asm.R1, regCtx, skbIfindex, asm.Word),
			asm.JEq.Imm(asm.R1, int32(c.LoopbackInterface), labelExcluded),
		)
	}
	switch c.Direction {
	case capture.DirectionIn:
		ins = append(ins, packetType, asm.JEq.Imm(asm.R1, unix.PACKET_OUTGOING, labelExcluded))
	case capture.DirectionOut:
		ins = append(ins, packetType, asm.JNE.Imm(asm.R1, unix.PACKET_OUTGOING, labelExcluded))
	}
	return ins
}
