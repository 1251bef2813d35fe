//go:build linux

// Package cpu accounts the processor time of a process and of everything it
// starts, in the nanoseconds of the scheduler.
//
// The time of a process is its CPU clock (clock_gettime(2) with the clock of
// clock_getcpuclockid(3)): the run time of all its threads, those that have ended
// included, from the same counter that /proc/PID/schedstat shows. The kernel
// brings the counter of a thread that runs on another processor up to date at
// each tick and each switch, so read it when the process is idle, or allow for
// a few milliseconds.
//
// Time in interrupts counts for whoever was interrupted, unless the kernel is
// built with CONFIG_IRQ_TIME_ACCOUNTING: what the network stack does for a frame
// when it arrives over a veth pair is the sender's time.
package cpu
