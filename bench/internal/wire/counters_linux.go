package wire

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// threadNetDev are the counters of the calling thread's network namespace
// (proc_pid_net(5)); /sys shows those of the namespace that mounted it.
const threadNetDev = "/proc/thread-self/net/dev"

// Columns of that file behind the interface's name: eight for receiving, then
// packets, errors and drops of sending among the next.
const (
	columnSent        = 9
	columnSendErrors  = 10
	columnSendDropped = 11
	columnCount       = 16
)

// readCounters returns the sending counters of an interface.
func readCounters(ifindex int) (InterfaceCounts, error) {
	i, err := net.InterfaceByIndex(ifindex)
	if err != nil {
		return InterfaceCounts{}, fmt.Errorf("wire: interface %d: %w", ifindex, err)
	}
	text, err := os.ReadFile(threadNetDev)
	if err != nil {
		return InterfaceCounts{}, fmt.Errorf("wire: counters: %w", err)
	}
	return parseCounters(string(text), i.Name)
}

func parseCounters(text, name string) (c InterfaceCounts, err error) {
	for line := range strings.Lines(text) {
		of, rest, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(of) != name {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) != columnCount {
			return c, fmt.Errorf("wire: counters of %s: %d columns, want %d", name, len(fields), columnCount)
		}
		if c.Sent, err = strconv.ParseUint(fields[columnSent], 10, 64); err != nil {
			return c, fmt.Errorf("wire: counters of %s: %w", name, err)
		}
		for _, column := range [2]int{columnSendErrors, columnSendDropped} {
			n, err := strconv.ParseUint(fields[column], 10, 64)
			if err != nil {
				return c, fmt.Errorf("wire: counters of %s: %w", name, err)
			}
			c.Dropped += n
		}
		return c, nil
	}
	return c, fmt.Errorf("wire: no counters of interface %s", name)
}

// since returns the difference to an earlier reading.
func (c InterfaceCounts) since(before InterfaceCounts) InterfaceCounts {
	return InterfaceCounts{Sent: c.Sent - before.Sent, Dropped: c.Dropped - before.Dropped}
}
