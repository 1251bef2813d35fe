package pcapfilter_test

import (
	"fmt"

	"golang.org/x/net/bpf"

	"capstan/pkg/capture"
	"capstan/pkg/pcapfilter"
)

func ExampleCompile() {
	program, err := pcapfilter.Compile(capture.LinkTypeEthernet, 65535, "arp or ip proto 6")
	if err != nil {
		fmt.Println(err)
		return
	}
	instructions, _ := bpf.Disassemble(program)
	for i, ins := range instructions {
		fmt.Printf("%d %v\n", i, ins)
	}
	// Output:
	// 0 ldh [12]
	// 1 jeq #2054,4
	// 2 jneq #2048,2
	// 3 ldb [23]
	// 4 jeq #6,1
	// 5 ret #0
	// 6 ret #65535
}

func ExampleParse() {
	_, err := pcapfilter.Parse("tcp port 80 or host www.example.org")
	fmt.Println(err)
	// Output:
	// filter expression: "www.example.org" is a name, and names are not looked up at position 21 (give the address)
}
