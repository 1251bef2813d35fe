//go:build linux

package cpu

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// userTick is the unit of times in /proc: USER_HZ is 100 on every architecture
// that Go runs on.
const userTick = 10 * time.Millisecond

// stat is what proc(5) tells of a process in /proc/PID/stat.
type stat struct {
	started uint64        // in ticks after boot; with the number it identifies a process
	waited  time.Duration // of children that ended and were waited for, and of theirs
}

// Fields of /proc/PID/stat, counted from the one behind the name, the third.
const (
	statState       = 0
	statChildUser   = 16 - 3
	statChildSystem = 17 - 3
	statStarted     = 22 - 3
)

// readFields reads such a file, which is that of a process or of a thread.
func readFields(path string) ([][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// The name stands in parentheses and may hold anything, parentheses too.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) <= statStarted {
		return nil, fmt.Errorf("%s has %d fields", path, len(fields))
	}
	return fields, nil
}

func readStat(pid int) (stat, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	fields, err := readFields(path)
	if err != nil {
		return stat{}, err
	}
	var numbers [3]uint64
	for i, f := range [3]int{statChildUser, statChildSystem, statStarted} {
		if numbers[i], err = strconv.ParseUint(string(fields[f]), 10, 64); err != nil {
			return stat{}, fmt.Errorf("%s: %w", path, err)
		}
	}
	return stat{waited: time.Duration(numbers[0]+numbers[1]) * userTick, started: numbers[2]}, nil
}

// Runnable reports whether a thread of a process runs or waits for a processor.
// One that is gone isn't.
func Runnable(pid int) bool {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, thread := range threads {
		if f, err := readFields(dir + "/" + thread.Name() + "/stat"); err == nil && string(f[statState]) == "R" {
			return true
		}
	}
	return false
}

// readChildren appends the children of a process, each listed with the thread
// that started it (/proc/PID/task/TID/children, CONFIG_PROC_CHILDREN).
func readChildren(dst []int, pid int) ([]int, error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		return dst, err
	}
	for _, thread := range threads {
		data, err := os.ReadFile(dir + "/" + thread.Name() + "/children")
		if err != nil {
			continue // the thread has ended; another thread has its children now
		}
		for _, f := range bytes.Fields(data) {
			child, err := strconv.Atoi(string(f))
			if err != nil {
				return dst, fmt.Errorf("%s/%s/children: %w", dir, thread.Name(), err)
			}
			dst = append(dst, child)
		}
	}
	return dst, nil
}

// checkChildren tells whether the kernel lists children at all.
func checkChildren() error {
	path := fmt.Sprintf("/proc/%d/task/%d/children", os.Getpid(), os.Getpid())
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("the kernel doesn't list child processes (CONFIG_PROC_CHILDREN): %w", err)
	}
	return nil
}
