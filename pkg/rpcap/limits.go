package rpcap

// Limits of the protocol and of its reference implementation. Whatever a peer
// controls is held against one of them before anything is allocated.
const (
	// MaxErrorText is the length of the text in an ERROR that senders write
	// (PCAP_ERRBUF_SIZE).
	MaxErrorText = 256
	// MaxDeviceName is the longest name OPEN accepts (daemon.c, daemon_msg_open_req).
	MaxDeviceName = 1024
	// MaxFilterLen is the largest number of instructions of a filter
	// (RPCAP_BPF_MAXINSNS).
	MaxFilterLen = 8192
	// MaxSnapLen is what a snap length of 0 or above it means
	// (MAXIMUM_SNAPLEN).
	MaxSnapLen = 262144
	// MaxName is the longest interface name or description that libpcap's
	// client takes in a listing.
	MaxName = 1024
	// MaxFrameLen bounds the frame in a PACKET: Linux sends frames of up to
	// 512 KiB (BIG TCP), whatever the snap length says.
	MaxFrameLen = 1 << 20
	// MaxListing bounds a FINDALLIF_REPLY: 65,535 interfaces with a few
	// addresses each don't occur, 16 MiB hold some 30,000 addresses.
	MaxListing = 16 << 20

	// maxAuthBody holds an AUTH_REQ with the longest user and password.
	maxAuthBody = 8 + 2*65535
	// maxFilterBody holds the largest filter and its header.
	maxFilterBody = 8 + MaxFilterLen*filterInsnLen
	// slack is accepted on top of what a message needs: the reference skips
	// surplus bytes, and so do we, up to here.
	slack = 64 << 10
)

// BodyLimit returns the largest body that a message of type t may have.
// Deviation: the reference skips up to 2 GiB of a body it does not want.
func BodyLimit(t Type) int {
	switch t {
	case TypeAuthRequest:
		return maxAuthBody + slack
	case TypeStartCapRequest, TypeUpdateFilterReq:
		return 12 + maxFilterBody + slack
	case TypeFindAllIfReply:
		return MaxListing
	case TypePacket:
		return packetHeaderLen + MaxFrameLen
	default:
		return slack
	}
}
