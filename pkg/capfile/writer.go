package capfile

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"

	"capstan/pkg/capture"
)

// Writer writes one pcapng section in little-endian order with nanosecond
// timestamps. Its errors are sticky. It is for one goroutine.
type Writer struct {
	w     *bufio.Writer
	block []byte // scratch for the block being made
	count int
	err   error
}

// Interface describes where frames come from.
type Interface struct {
	Name     string // if_name, such as eth0; empty is left out
	Filter   string // if_filter, a capture filter expression; empty is left out
	LinkType capture.LinkType
	SnapLen  int // 0 = unlimited
}

// Statistics are the counters of an interface at the end of a capture.
type Statistics struct {
	Start, End        int64 // nanoseconds since the Unix epoch
	Received, Dropped uint64
}

// NewWriter writes a section header to w and returns a Writer. application
// names the program, such as "capstan interceptor 0.1".
func NewWriter(w io.Writer, application string) (*Writer, error) {
	wr := &Writer{w: bufio.NewWriterSize(w, 64<<10)}
	wr.begin(blockSection)
	wr.u32(byteOrderMagic)
	wr.u16(1) // version 1.0
	wr.u16(0)
	wr.u64(^uint64(0)) // section length unknown
	wr.option(optHardware, runtime.GOARCH)
	wr.option(optOS, runtime.GOOS)
	wr.option(optUserAppl, application)
	wr.endOptions()
	return wr, wr.end()
}

// AddInterface describes one more interface and returns its number.
func (w *Writer) AddInterface(i Interface) (int, error) {
	w.begin(blockInterface)
	w.u16(uint16(i.LinkType.File()))
	w.u16(0)
	w.u32(uint32(i.SnapLen))
	w.option(optIfName, i.Name)
	if i.Filter != "" {
		w.option(optIfFilter, "\x00"+i.Filter) // 0 = filter expression
	}
	w.option(optIfTSResol, "\x09")
	w.endOptions()
	id := w.count
	w.count++
	return id, w.end()
}

// WriteFrame writes a frame of the interface numbered id. It keeps nothing of f. An id
// that [Writer.AddInterface] has not returned is an error that is not sticky.
func (w *Writer) WriteFrame(id int, f *capture.Frame) error {
	if id < 0 || id >= w.count {
		return fmt.Errorf("capfile: frame of interface %d where %d are described", id, w.count)
	}
	w.begin(blockEnhancedPacket)
	w.u32(uint32(id))
	w.u32(uint32(uint64(f.Timestamp) >> 32))
	w.u32(uint32(f.Timestamp))
	w.u32(uint32(len(f.Data)))
	w.u32(uint32(f.Len))
	w.padded(f.Data)
	return w.end()
}

// WriteStatistics writes the counters of the interface numbered id.
func (w *Writer) WriteStatistics(id int, s Statistics) error {
	w.begin(blockStatistics)
	w.u32(uint32(id))
	w.u32(uint32(uint64(s.End) >> 32))
	w.u32(uint32(s.End))
	w.timeOption(optISBStart, s.Start)
	w.timeOption(optISBEnd, s.End)
	w.countOption(optISBReceived, s.Received)
	w.countOption(optISBDropped, s.Dropped)
	w.endOptions()
	return w.end()
}

// Flush hands everything written to the underlying writer.
func (w *Writer) Flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

func (w *Writer) begin(kind uint32) {
	w.block = w.block[:0]
	w.u32(kind)
	w.u32(0) // length, set by end
}

func (w *Writer) end() error {
	length := uint32(len(w.block) + 4)
	w.u32(length)
	binary.LittleEndian.PutUint32(w.block[4:], length)
	if w.err == nil {
		_, w.err = w.w.Write(w.block)
	}
	return w.err
}

func (w *Writer) u16(v uint16) { w.block = binary.LittleEndian.AppendUint16(w.block, v) }
func (w *Writer) u32(v uint32) { w.block = binary.LittleEndian.AppendUint32(w.block, v) }
func (w *Writer) u64(v uint64) { w.block = binary.LittleEndian.AppendUint64(w.block, v) }

func (w *Writer) padded(b []byte) {
	w.block = append(w.block, b...)
	w.pad()
}

func (w *Writer) pad() {
	for len(w.block)%4 != 0 {
		w.block = append(w.block, 0)
	}
}

// option writes a text option unless it is empty.
func (w *Writer) option(code uint16, value string) {
	if value == "" {
		return
	}
	value = value[:min(len(value), 1<<16-1)]
	w.u16(code)
	w.u16(uint16(len(value)))
	w.block = append(w.block, value...)
	w.pad()
}

func (w *Writer) timeOption(code uint16, t int64) {
	w.u16(code)
	w.u16(8)
	w.u32(uint32(uint64(t) >> 32))
	w.u32(uint32(t))
}

func (w *Writer) countOption(code uint16, n uint64) {
	w.u16(code)
	w.u16(8)
	w.u64(n)
}

func (w *Writer) endOptions() { w.u32(optEnd) }
