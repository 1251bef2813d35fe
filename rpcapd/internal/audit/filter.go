package audit

import (
	"strconv"

	"capstan/pkg/rpcap"
)

// maxFilterLen is how many instructions of a filter are written.
const maxFilterLen = 64

// FilterText returns a program in the form that xt_bpf takes: the number of
// instructions and then each, "N,code jt jf k,…". A long one is cut short; the
// number remains.
func FilterText(filter []rpcap.Instruction) string {
	b := strconv.AppendInt(nil, int64(len(filter)), 10)
	for i, ins := range filter {
		if i == maxFilterLen {
			b = append(b, ",…"...)
			break
		}
		for j, n := range []uint32{uint32(ins.Op), uint32(ins.Jt), uint32(ins.Jf), ins.K} {
			b = append(b, ", "[min(j, 1)])
			b = strconv.AppendUint(b, uint64(n), 10)
		}
	}
	return string(b)
}
