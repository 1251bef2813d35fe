package afpacket_test

import (
	"errors"
	"fmt"
	"os"
	"time"

	"capstan/pkg/afpacket"
)

// A capture that prints the length of every frame of an interface for ten seconds.
func Example() {
	ring, err := afpacket.Open(afpacket.Config{Interface: 2}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ring.Close()
	var block afpacket.Block
	var frame afpacket.Frame
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		err := ring.Next(&block, time.Second)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		for block.Next(&frame) {
			fmt.Println(frame.Len)
		}
		block.Release()
	}
	fmt.Println(ring.Stats())
}
