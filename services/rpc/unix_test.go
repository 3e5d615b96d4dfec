package rpc

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
)

func TestReflectionOnTheUnixSocketOnly(t *testing.T) {
	r := newRig(t, Limits{})
	ask := func(conn *grpc.ClientConn) (*reflectionv1.ServerReflectionResponse, error) {
		stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
		if err != nil {
			return nil, err
		}
		request := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{ListServices: ""}}
		if err := stream.Send(request); err != nil {
			return nil, err
		}
		return stream.Recv()
	}
	got, err := ask(r.localClient)
	if err != nil || !strings.Contains(got.String(), "sallyport.operator.v1.ResourceService") {
		t.Errorf("unix socket: %v, %v", got, err)
	}
	if _, err := ask(r.client); status.Code(err) != codes.Unimplemented {
		t.Errorf("TLS port: %v", err)
	}
}

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second controller: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	_ = l.Close() // again: must not remove what somebody else made meanwhile

	// What a controller that was killed left behind is replaced.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	again, err := ListenUnix(path)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	again.Close()

	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path); err == nil {
		t.Error("a file was replaced")
	}
	if _, err := ListenUnix(filepath.Join(path, "no", "such", "folder")); err == nil {
		t.Error("no folder, no error")
	}
}

// TestOtherUsersAreRefused connects as nobody to a socket that anybody may open: the file's mode is
// one defence, the kernel's word on the user the other.
func TestOtherUsersAreRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	dir, err := os.MkdirTemp("/tmp", "rpc-unix-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			refused <- err
			return
		}
		defer conn.Close()
		_, _, err = localCredentials{}.ServerHandshake(conn)
		refused <- err
	}()
	binary := filepath.Join(dir, "test")
	copyFile(t, os.Args[0], binary)
	cmd := exec.Command(binary, "-test.run", "^TestConnect$")
	cmd.Env = append(os.Environ(), "SALLYPORT_TEST_SOCKET="+path)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := <-refused; !errors.Is(err, errNotLocalRoot) || !strings.Contains(err.Error(), "65534") {
		t.Errorf("got %v", err)
	}
}

// TestConnect is the other user of TestOtherUsersAreRefused.
func TestConnect(t *testing.T) {
	path := os.Getenv("SALLYPORT_TEST_SOCKET")
	if path == "" {
		t.Skip("a part of TestOtherUsersAreRefused")
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Read(make([]byte, 1)) // until the server has decided
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
