package sockfilter_test

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"capstan/pkg/sockfilter"
)

// An interpreted program needs no privilege.
func ExampleProgram_Run() {
	raw, _ := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 2}, // EtherType
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x0806, SkipFalse: 1},
		bpf.RetConstant{Val: 64},
		bpf.RetConstant{Val: 0},
	})
	arp, err := sockfilter.Compile(raw)
	if err != nil {
		fmt.Println(err)
		return
	}
	frame := make([]byte, 60)
	fmt.Println(arp.Run(frame, len(frame)))
	frame[12], frame[13] = 0x08, 0x06
	fmt.Println(arp.Run(frame, len(frame)))
	// Output:
	// 0
	// 64
}

// A filter is attached to a packet socket before the socket is bound, and gets
// the client's program afterwards.
func ExampleFilter() {
	filter, err := sockfilter.NewFilter(sockfilter.Config{SnapLen: 128})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer filter.Close()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer unix.Close(fd)
	if err := filter.Attach(fd); err != nil {
		fmt.Println(err)
		return
	}
	judged, err := filter.Set(nil) // everything
	fmt.Println(judged, err)
}
