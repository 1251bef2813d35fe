//go:build linux

package server

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Memory is what a server has used, in bytes.
type Memory struct {
	// Peak is the sum of the peaks of its processes' resident memory (VmHWM).
	// Pages that processes share count for each. The ring counts as resident
	// where it is mapped.
	Peak uint64 `json:"peak"`
	// Ring is the length of the capture rings that are mapped, which are
	// kernel memory.
	Ring uint64 `json:"ring"`
	// RingResident is what of Ring is in Peak.
	RingResident uint64 `json:"ring_resident"`
}

// Memory returns what the server uses now and has used at most.
func (s *Server) Memory() (Memory, error) {
	var m Memory
	rings := make(map[string]bool) // that have been counted: forked processes share them
	for _, pid := range s.tree.Processes() {
		peak, err := readPeak(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has ended since
		}
		if err == nil {
			err = m.addRings(pid, rings)
		}
		if err != nil {
			return m, err
		}
		m.Peak += peak
	}
	return m, nil
}

// readPeak reads VmHWM from /proc/PID/status.
func readPeak(pid int) (uint64, error) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return parseKiB(value)
		}
	}
	return 0, nil // a process about to end has no memory any more
}

// addRings adds the mappings of sockets in /proc/PID/smaps: only packet sockets
// have any.
func (m *Memory) addRings(pid int, known map[string]bool) error {
	file, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	name := ""
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) == 0 {
			continue
		}
		if !strings.HasSuffix(f[0], ":") { // the first line of a mapping ends with its name
			name = f[len(f)-1]
			continue
		}
		if !strings.HasPrefix(name, "socket:[") || f[0] != "Size:" && f[0] != "Rss:" {
			continue
		}
		n, err := parseKiB(strings.Join(f[1:], " "))
		if err != nil {
			return err
		}
		switch {
		case f[0] == "Rss:":
			m.RingResident += n // of each process, as in Peak
		case !known[name]:
			known[name] = true
			m.Ring += n
		}
	}
	return nil // a process that ends meanwhile has told what it could
}

func parseKiB(s string) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(s), " kB"), 10, 64)
	return n << 10, err
}
