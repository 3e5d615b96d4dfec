//go:build linux

// Command guest is a station (package station) at the end of a connection. As the first process of a virtual machine
// it also brings that up (package kernelpeer).
//
//	/init                                       the first process: addresses from the kernel's command line
//	guest -dial ADDRESS:PORT [-namespace NAME]  a station in a network namespace, reporting from outside it
//	guest -fd 3                                 a station on a connection that it has inherited
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/deploy/interop/station"
)

func main() {
	if os.Getpid() == 1 {
		fmt.Fprintln(os.Stderr, "guest:", boot())
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
		return
	}
	dial := flag.String("dial", "", "address and port to report to")
	namespace := flag.String("namespace", "", "network namespace to serve in")
	fd := flag.Int("fd", -1, "inherited connection")
	flag.Parse()
	if err := run(*dial, *namespace, *fd); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

func run(dial, namespace string, fd int) error {
	if fd >= 0 {
		conn, err := net.FileConn(os.NewFile(uintptr(fd), "connection"))
		if err != nil {
			return err
		}
		return serve(conn)
	}
	conn, err := net.Dial("tcp", dial)
	if err != nil || namespace == "" {
		if err != nil {
			return err
		}
		return serve(conn)
	}
	return reexec(conn, namespace)
}

func serve(conn net.Conn) error {
	s, err := station.New(station.Port)
	if err != nil {
		return err
	}
	return s.Serve(conn)
}

// reexec goes on in a namespace: a process that has threads cannot change its own.
func reexec(conn net.Conn, namespace string) error {
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	// File's descriptor closes on exec; this copy does not.
	fd, err := unix.Dup(int(file.Fd()))
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		return err
	}
	return syscall.Exec(ip, []string{"ip", "netns", "exec", namespace, self, "-fd", fmt.Sprint(fd)}, os.Environ())
}
