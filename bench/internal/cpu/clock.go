//go:build linux

package cpu

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// schedClock selects the scheduler's run time among the CPU clocks of a process
// (CPUCLOCK_SCHED, linux/posix-timers_types.h).
const schedClock = 2

// processClock returns the clock of a process (MAKE_PROCESS_CPUCLOCK).
func processClock(pid int) int32 { return int32(^uint32(pid)<<3 | schedClock) }

// Clock returns the processor time of one process so far, of all its threads,
// those that have ended included. A process that nobody has waited for yet
// still has its clock; one that is gone has none (unix.EINVAL or unix.ESRCH).
func Clock(pid int) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(processClock(pid), &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}
