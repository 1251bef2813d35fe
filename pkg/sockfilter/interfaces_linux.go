package sockfilter

import (
	"errors"
	"fmt"
	"math"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// MaxInterfaces is how many interfaces an [InterfaceTable] can exclude.
const MaxInterfaces = 65536

// InterfaceTable holds the interfaces that a capture on all interfaces leaves
// out. It names those, and not the wanted ones, so that the first frames of an
// interface that nobody has told it about yet are not lost: they pass, and the
// caller decides by the interface's name. All methods may be called from any
// goroutine, also while filters use the table.
type InterfaceTable struct {
	excluded *ebpf.Map
}

// NewInterfaceTable makes an empty table. It needs CAP_BPF, else the error is a
// [*PermissionError].
func NewInterfaceTable() (*InterfaceTable, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "capstan_ifaces", Type: ebpf.Hash, KeySize: 8, ValueSize: 1,
		MaxEntries: MaxInterfaces, Flags: unix.BPF_F_NO_PREALLOC,
	})
	if err != nil {
		return nil, kernelError("interfaces", err)
	}
	return &InterfaceTable{excluded: m}, nil
}

// Exclude leaves out the frames of an interface from now on.
func (t *InterfaceTable) Exclude(ifindex int) error {
	if ifindex <= 0 || ifindex > math.MaxInt32 {
		return fmt.Errorf("sockfilter: exclude %d: not an interface index", ifindex)
	}
	if err := t.excluded.Update(uint64(ifindex), uint8(1), ebpf.UpdateAny); err != nil {
		return kernelError(fmt.Sprintf("exclude interface %d", ifindex), err)
	}
	return nil
}

// Include undoes Exclude. Including an interface that isn't excluded does
// nothing. An interface that has gone should be included, since the kernel may
// give its index to another.
func (t *InterfaceTable) Include(ifindex int) error {
	err := t.excluded.Delete(uint64(ifindex))
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return kernelError(fmt.Sprintf("include interface %d", ifindex), err)
	}
	return nil
}

// Close frees the table. Filters that use it go on excluding what it holds.
func (t *InterfaceTable) Close() error { return t.excluded.Close() }

// stackInterface is where the prologue puts an ifindex as a 64-bit key.
const stackInterface = -240

// exclude goes to labelExcluded with frames of excluded interfaces.
func (t *InterfaceTable) exclude() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, regCtx, skbIfindex, asm.Word),
		asm.StoreMem(asm.RFP, stackInterface, asm.R1, asm.DWord),
		asm.LoadMapPtr(asm.R1, t.excluded.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackInterface),
		asm.FnMapLookupElem.Call(),
		asm.JNE.Imm(asm.R0, 0, labelExcluded),
	}
}
