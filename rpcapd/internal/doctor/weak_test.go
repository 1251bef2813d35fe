//go:build linux

package doctor

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// weakMain runs the doctor on a thread that has only the capabilities listed.
func weakMain(list string) int {
	runtime.LockOSThread() // capabilities belong to threads
	var data [2]unix.CapUserData
	for _, number := range strings.Fields(list) {
		n, err := strconv.Atoi(number)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 99
		}
		data[n/32].Effective |= 1 << (n % 32)
		data[n/32].Permitted |= 1 << (n % 32)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capset(&header, &data[0]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
	return Run(os.Args[1:], os.Stdout, os.Stderr)
}
