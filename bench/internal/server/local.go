//go:build linux

package server

import (
	"fmt"
	"regexp"
	"strconv"
)

// LocalCounts is what a local capture says at its end.
type LocalCounts struct {
	Captured uint64 // frames that it took
	Dropped  uint64 // frames that the kernel dropped for want of room
}

// The words of tcpdump, and of this project's drain; those of dumpcap.
var (
	tcpdumpCaptured = regexp.MustCompile(`(?m)^(\d+) packets? captured`)
	tcpdumpDropped  = regexp.MustCompile(`(?m)^(\d+) packets? dropped by kernel`)
	dumpcapCaptured = regexp.MustCompile(`(?m)^\r?Packets captured: (\d+)`)
	dumpcapDropped  = regexp.MustCompile(`(?m)^Packets received/dropped on interface .*: \d+/(\d+) `)
)

// ParseLocal reads the counts of tcpdump or dumpcap from their last words.
func ParseLocal(output string) (LocalCounts, error) {
	for _, words := range [][2]*regexp.Regexp{{tcpdumpCaptured, tcpdumpDropped}, {dumpcapCaptured, dumpcapDropped}} {
		captured, dropped := words[0].FindStringSubmatch(output), words[1].FindStringSubmatch(output)
		if captured == nil || dropped == nil {
			continue
		}
		var c LocalCounts
		var err error
		if c.Captured, err = strconv.ParseUint(captured[1], 10, 64); err != nil {
			return c, err
		}
		c.Dropped, err = strconv.ParseUint(dropped[1], 10, 64)
		return c, err
	}
	return LocalCounts{}, fmt.Errorf("it didn't say how much it captured, as tcpdump and dumpcap do; it said:\n%s", output)
}
