package pcapfilter

// service is the port of a service by name.
type service struct {
	port uint16
	only *protocol // nil: both TCP and UDP, and so any protocol with ports
}

// services are the names that port and portrange know: the common ones, with
// ports and protocols of Debian's /etc/services. Other systems list other
// protocols for some, so a table of our own means the same everywhere.
var services = map[string]service{
	"ftp-data": {20, protoTCP}, "ftp": {21, protoTCP}, "ssh": {22, protoTCP}, "telnet": {23, protoTCP},
	"smtp": {25, protoTCP}, "time": {37, nil}, "domain": {53, nil}, "bootps": {67, protoUDP}, "bootpc": {68, protoUDP},
	"tftp": {69, protoUDP}, "gopher": {70, protoTCP}, "finger": {79, protoTCP}, "http": {80, protoTCP}, "www": {80, protoTCP},
	"kerberos": {88, nil}, "pop3": {110, protoTCP}, "sunrpc": {111, nil}, "portmapper": {111, nil}, "nntp": {119, protoTCP},
	"ntp": {123, protoUDP}, "epmap": {135, protoTCP}, "netbios-ns": {137, protoUDP}, "netbios-dgm": {138, protoUDP},
	"netbios-ssn": {139, protoTCP}, "imap": {143, protoTCP}, "imap2": {143, protoTCP}, "snmp": {161, nil}, "snmp-trap": {162, nil},
	"snmptrap": {162, nil}, "bgp": {179, protoTCP}, "ldap": {389, nil}, "https": {443, nil}, "microsoft-ds": {445, protoTCP},
	"submissions": {465, protoTCP}, "isakmp": {500, protoUDP}, "syslog": {514, nil}, "shell": {514, protoTCP},
	"biff": {512, protoUDP}, "exec": {512, protoTCP}, "login": {513, protoTCP}, "who": {513, protoUDP},
	"printer": {515, protoTCP}, "route": {520, protoUDP}, "submission": {587, protoTCP}, "ldaps": {636, nil},
	"domain-s": {853, nil}, "rsync": {873, protoTCP}, "ftps": {990, protoTCP}, "telnets": {992, protoTCP}, "imaps": {993, protoTCP},
	"pop3s": {995, protoTCP}, "socks": {1080, protoTCP}, "openvpn": {1194, nil}, "ms-sql-s": {1433, protoTCP},
	"l2tp": {1701, protoUDP}, "radius": {1812, nil}, "radius-acct": {1813, nil}, "nfs": {2049, nil},
	"iscsi-target": {3260, protoTCP}, "mysql": {3306, protoTCP}, "ms-wbt-server": {3389, protoTCP}, "sip": {5060, nil},
	"sip-tls": {5061, nil}, "xmpp-client": {5222, protoTCP}, "xmpp-server": {5269, protoTCP}, "mdns": {5353, protoUDP},
	"postgresql": {5432, protoTCP}, "amqp": {5672, protoTCP}, "redis": {6379, protoTCP}, "http-alt": {8080, protoTCP},
}
