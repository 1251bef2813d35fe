package sockfilter

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/net/bpf"
)

// stackLoad is where bytes go that a helper function loads, below M[].
const stackLoad = -8*scratchWords - 8

func (t *translation) load(i int) {
	ins := t.code[i]
	switch ins.Op {
	case opLoadAbsW, opLoadAbsH, opLoadAbsB:
		if isAncillary(ins) {
			t.loadAncillary(ins.K - offsetAncillary)
			return
		}
		t.loadAbs(ins.K, loadLen(ins.Op))
	case opLoadIndW, opLoadIndH, opLoadIndB:
		t.loadInd(ins.K, loadLen(ins.Op))
	case opLoadXMSH:
		t.loadMSH(ins.K, t.facts.liveA[i])
	case opLoadImm:
		t.emit(asm.Mov.Imm32(regA, int32(ins.K)))
	case opLoadXImm:
		t.emit(asm.Mov.Imm32(regX, int32(ins.K)))
	case opLoadMem:
		t.emit(asm.LoadMem(regA, asm.RFP, scratchOffset(ins.K), asm.DWord))
	case opLoadXMem:
		t.emit(asm.LoadMem(regX, asm.RFP, scratchOffset(ins.K), asm.DWord))
	case opLoadLen:
		t.loadLen(regA)
	case opLoadXLen:
		t.loadLen(regX)
	}
}

func (t *translation) loadLen(r asm.Register) {
	if t.layout.grown < 0 {
		t.leave()
		return
	}
	t.field(r, skbLen)
	if t.layout.grown > 0 {
		t.emit(asm.Add.Imm32(r, int32(t.layout.grown)))
	}
}

// field loads a word of the context.
func (t *translation) field(r asm.Register, offset int16) {
	t.emit(asm.LoadMem(r, regCtx, offset, asm.Word))
	t.loads++
}

// loadAbs loads A from a constant offset.
func (t *translation) loadAbs(k, size uint32) {
	network, offset, ok := base(k)
	if !ok {
		t.refuse()
		return
	}
	if network {
		t.fetch(fromNetwork, offset, size)
		return
	}
	t.loadFrame(offset, size)
}

// loadFrame loads A from a constant offset in the client's frame. It reports
// whether the program goes on.
func (t *translation) loadFrame(offset, size uint32) bool {
	pieces := t.layout.split(offset, size)
	if t.layout.unreachable(offset, size) {
		for _, p := range pieces {
			if p.source == fromNowhere {
				t.leave()
				return false
			}
		}
		t.refuse()
		return false
	}
	for i, p := range pieces {
		if i > 0 {
			t.emit(asm.Mov.Reg32(regTmp, regA))
		}
		t.piece(p)
		if i > 0 {
			t.emit(
				asm.LSh.Imm32(regTmp, int32(8*p.size)),
				asm.Or.Reg32(regA, regTmp),
			)
		}
	}
	return true
}

// piece loads one piece into A, in host order.
func (t *translation) piece(p piece) {
	if p.source != fromField {
		t.fetch(p.source, p.offset-p.shift, p.size)
		return
	}
	t.fieldValue(p.field)
	if behind := p.end - p.offset - p.size; behind > 0 {
		t.emit(asm.RSh.Imm32(regA, int32(8*behind)))
	}
	if p.offset > p.start {
		t.emit(asm.And.Imm32(regA, int32(1<<(8*p.size)-1)))
	}
}

func (t *translation) fieldValue(f field) {
	switch f {
	case fieldTPID:
		t.field(regA, skbVLANProto)
		t.emit(asm.HostTo(asm.BE, regA, asm.Half))
	case fieldTCI:
		t.field(regA, skbVLANTCI)
	case fieldProtocol:
		t.field(regA, skbProtocol)
		t.emit(asm.HostTo(asm.BE, regA, asm.Half))
	case fieldPacketType:
		t.field(regA, skbPktType)
	case fieldInterface:
		t.field(regA, skbIfindex)
	case fieldZero:
		t.emit(asm.Mov.Imm32(regA, 0))
	}
}

// fetch loads A from a constant offset in the kernel's frame.
func (t *translation) fetch(from source, offset, size uint32) {
	switch {
	case from == fromFrame:
		t.emit(asm.LoadAbs(int32(offset), sizeOf(size)))
		t.loads++
	case t.reach:
		t.emit(asm.LoadAbs(int32(offsetNetwork+offset), sizeOf(size)))
		t.loads++
	default:
		t.fetchByHelper(asm.Mov.Imm32(asm.R2, int32(offset)), size)
	}
}

// fetchByHelper loads A from the offset that a move puts into R2. The helper
// function doesn't see all bytes of every frame, but it tells, which LD_ABS
// doesn't.
func (t *translation) fetchByHelper(offset asm.Instruction, size uint32) {
	t.emit(
		asm.Mov.Reg(asm.R1, regCtx),
		offset,
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, stackLoad),
		asm.Mov.Imm32(asm.R4, int32(size)),
		asm.Mov.Imm32(asm.R5, startNetwork),
		asm.FnSkbLoadBytesRelative.Call(),
		skip(asm.JEq.Imm(asm.R0, 0, ""), 2),
	)
	t.leave()
	t.emit(asm.LoadMem(regA, asm.RFP, stackLoad, sizeOf(size)))
	if size > 1 {
		t.emit(asm.HostTo(asm.BE, regA, sizeOf(size)))
	}
}

func sizeOf(n uint32) asm.Size {
	switch n {
	case 1:
		return asm.Byte
	case 2:
		return asm.Half
	default:
		return asm.Word
	}
}

// mostCases bounds how many values of X are treated one by one.
const mostCases = 4

// loadInd loads A from offset k plus X.
func (t *translation) loadInd(k, size uint32) {
	network, offset, ok := base(k)
	if !ok {
		t.refuse()
		return
	}
	if network {
		t.fetchInd(fromNetwork, int32(offset), offset, size)
		return
	}
	if t.layout.beyond(offset) {
		t.refuse()
		return
	}
	last := t.layout.payload()
	var over []int // instructions that jump behind the load
	switch {
	case offset >= last.start:
	case last.start-offset <= mostCases:
		// X is what libpcap has loaded by LDX MSH, so these cases are rare.
		for at := offset; at < last.start; at++ {
			test := len(t.out)
			t.emit(asm.JNE.Imm32(regX, int32(at-offset), ""))
			if t.loadFrame(at, size) {
				over = append(over, len(t.out))
				t.emit(asm.Ja.Label(""))
			}
			t.out[test].Offset = int16(len(t.out) - test - 1)
		}
	default:
		t.emit(skip(asm.JGE.Imm32(regX, int32(last.start-offset), ""), 2))
		t.leave()
	}
	t.fetchInd(last.source, int32(offset)-int32(last.shift), offset, size)
	for _, at := range over {
		t.out[at].Offset = int16(len(t.out) - at - 1)
	}
	if over != nil {
		t.launder(regA)
		t.launder(regX)
	}
}

// fetchInd loads A from an offset in the kernel's frame plus X. In the client's
// frame the offset is k; with X it must not exceed maxOffset.
func (t *translation) fetchInd(from source, offset int32, k, size uint32) {
	limit := int32(maxOffset - k)
	if from == fromNetwork {
		limit = networkLimit - offset
	}
	t.refuseUnless(asm.JLE.Imm32(regX, limit, ""))
	switch {
	case from == fromFrame:
		t.emit(asm.LoadInd(regA, regX, offset, sizeOf(size)))
		t.loads++
	case t.reach:
		t.emit(asm.LoadInd(regA, regX, int32(int64(offset)+offsetNetwork-1<<32), sizeOf(size)))
		t.loads++
	default:
		t.emit(asm.Mov.Reg32(regTmp, regX), asm.Add.Imm32(regTmp, offset))
		t.fetchByHelper(asm.Mov.Reg32(asm.R2, regTmp), size)
	}
}

// loadMSH loads four times the low nibble of a byte into X. The load goes
// through A's register; keepA says that A is still wanted.
func (t *translation) loadMSH(k uint32, keepA bool) {
	if keepA {
		t.emit(asm.Mov.Reg32(regTmp, regA))
	}
	t.loadAbs(k, 1)
	if t.layout.ends(bpf.RawInstruction{Op: opLoadXMSH, K: k}) {
		return // what follows is never reached
	}
	t.emit(
		asm.And.Imm32(regA, mshLengthMask),
		asm.LSh.Imm32(regA, 2),
		asm.Mov.Reg32(regX, regA),
	)
	if keepA {
		t.emit(asm.Mov.Reg32(regA, regTmp))
	}
}

// loadAncillary loads A from what the kernel knows beside the frame. What it
// knows only in classic filters doesn't get here, see needs.
func (t *translation) loadAncillary(ad uint32) {
	switch ad {
	case adProtocol:
		t.fieldValue(fieldProtocol)
	case adPacketType:
		t.fieldValue(fieldPacketType)
	case adInterface:
		t.fieldValue(fieldInterface)
	case adMark:
		t.field(regA, skbMark)
	case adQueue:
		t.field(regA, skbQueue)
	case adHash:
		t.field(regA, skbHash)
	case adCPU:
		t.emit(asm.FnGetSmpProcessorId.Call())
	case adRandom:
		t.emit(asm.FnGetPrandomU32.Call())
	case adXorX:
		t.emit(asm.Xor.Reg32(regA, regX))
	default: // VLAN: the client's frame has its tag in place, not apart
		t.emit(asm.Mov.Imm32(regA, 0))
	}
}
