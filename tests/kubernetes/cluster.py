"""A Kubernetes of one node: real servers, a real kubelet and containers, in namespaces of this process.

The process must be the first of its own network, mount and process namespaces (`unshare`): its end ends
everything. There are no DNS, no kube-proxy and no enforced policies.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.deploy.helm import run_helm, tool
from tests.harness.process import ServerProcess
from tests.processes import Completed, run_command
from tests.waiting import wait_for

HOST: Final = "10.99.0.1"
"""The address of the node, and of everything that pods ask."""

NAMESPACE: Final = "driftgauge"

_TOKEN: Final = "admin-of-one-test"  # noqa: S105 - of a cluster that nobody else reaches
# Fails unless the answer is a success.
_CURL: Final = (
    *("curl", "--silent", "--fail", "--insecure", "--max-time", "5"),
    *("--header", f"Authorization: Bearer {_TOKEN}"),
)
_API: Final = f"https://{HOST}:6443"
_ETCD: Final = "http://127.0.0.1:2379"
_PAUSE: Final = "localhost/pause:1"
# What the kubelet would set for the whole machine.
_SYSCTLS: Final = {"kernel/panic_on_oops": 1, "kernel/panic": 10, "vm/overcommit_memory": 1}


class _Server(ServerProcess):
    """A server with a folder of its own, which answers when a command or request succeeds."""

    def __init__(self, folder: Path, command: Sequence[str | Path], answers: Sequence[str] | str) -> None:
        folder.mkdir()
        self._probe = (*_CURL, answers) if isinstance(answers, str) else answers
        super().__init__(folder.name, ["nice", "-n", "10", *map(str, command)], folder)

    def _answers(self) -> bool:
        return run_command(*self._probe).returncode == 0


class Cluster:
    """The cluster. Attributes: `folder`, which holds its data and logs."""

    def __init__(self, folder: Path, programs: Path, images: Path, resources: Sequence[Path]) -> None:
        self.folder = folder
        self._programs = programs
        self._images = images
        self._resources = resources
        self._kubeconfig = folder / "kubeconfig"
        self._socket = folder / "containerd.sock"

    def start(self) -> None:
        """Start all servers, and wait until the node is ready."""
        self._prepare_machine()
        self._start_control_plane()
        self._start_node()
        for resource in self._resources:
            self.kubectl("create", "--filename", str(resource))
        for kind, condition in (("crd", "Established"), ("nodes", "Ready")):
            # It fails, too, for one that has no condition yet.
            words = ("wait", f"--for=condition={condition}", kind, "--all", "--timeout=60s")
            wait_for(
                f"{kind} to be {condition}",
                lambda words=words: self.kubectl(*words, check=False).returncode == 0,
            )
        self.kubectl("create", "namespace", NAMESPACE)
        label = "pod-security.kubernetes.io/enforce=restricted"
        self.kubectl("label", "namespace", NAMESPACE, label)

    def _prepare_machine(self) -> None:
        """Set up the bridge of the pods, and what the kubelet and containerd expect of the machine."""
        for command in (
            # What is mounted here stays here, and reaches the pods.
            "mount --make-rprivate /",
            "mount --make-rshared /",
            "ip link set lo up",
            "ip link add driftgauge0 type bridge",
            f"ip addr add {HOST}/24 dev driftgauge0",
            "ip link set driftgauge0 up",
        ):
            run_command(*command.split(), check=True)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        for name, value in _SYSCTLS.items():
            own = self.folder / name.replace("/", ".")
            own.write_text(f"{value}\n")
            run_command("mount", "--bind", own, f"/proc/sys/{name}", check=True)

    def _start_control_plane(self) -> None:
        folder = self.folder
        key, public = folder / "service-accounts.key", folder / "service-accounts.pub"
        run_command("openssl", "genrsa", "-out", key, "2048", check=True)
        run_command("openssl", "rsa", "-in", key, "-pubout", "-out", public, check=True)
        (folder / "tokens.csv").write_text(f"{_TOKEN},admin,admin,system:masters\n")
        server = {"server": _API, "insecure-skip-tls-verify": True}
        self._kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "test", "cluster": server}],
                    "users": [{"name": "admin", "user": {"token": _TOKEN}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
                    "current-context": "test",
                }
            )
        )
        etcd = {
            "--data-dir": folder / "etcd-data",
            "--listen-client-urls": _ETCD,
            "--advertise-client-urls": _ETCD,
            "--listen-peer-urls": "http://127.0.0.1:2380",
        }
        self._run(
            "etcd", [shutil.which("etcd") or "etcd", "--unsafe-no-fsync", *_options(etcd)], f"{_ETCD}/health"
        )
        api = {
            "--etcd-servers": _ETCD,
            "--cert-dir": folder / "certificates",
            "--bind-address": HOST,
            "--advertise-address": HOST,
            "--service-account-key-file": public,
            "--service-account-signing-key-file": key,
            "--service-account-issuer": "https://kubernetes.default.svc",
            "--token-auth-file": folder / "tokens.csv",
            "--authorization-mode": "RBAC",
            "--service-cluster-ip-range": "10.98.0.0/24",
        }
        self._run("kube-apiserver", [self._programs / "kube-apiserver", *_options(api)], f"{_API}/readyz")
        controllers = {
            "--kubeconfig": self._kubeconfig,
            "--service-account-private-key-file": key,
            "--root-ca-file": folder / "certificates/apiserver.crt",
            "--bind-address": "127.0.0.1",
            "--leader-elect": "false",
        }
        name = "kube-controller-manager"
        command = [self._programs / name, *_options(controllers), "--use-service-account-credentials=true"]
        self._run(name, command, "https://127.0.0.1:10257/healthz")
        options = _options({"--kubeconfig": self._kubeconfig, "--leader-elect": "false"})
        command = [self._programs / "kube-scheduler", *options, "--bind-address=127.0.0.1"]
        self._run("kube-scheduler", command, "https://127.0.0.1:10259/healthz")

    def _start_node(self) -> None:
        self._start_containerd()
        (self.folder / "resolv.conf").write_text(f"nameserver {HOST}\n")
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": HOST,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "resolvConf": str(self.folder / "resolv.conf"),
            "makeIPTablesUtilChains": False,
            "localStorageCapacityIsolation": False,
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            "featureGates": {"KubeletInUserNamespace": True},
            "enforceNodeAllocatable": [],
            "maxOpenFiles": 20_000,
        }
        path = self.folder / "kubelet.json"
        path.write_text(json.dumps(config))
        options = {
            "--config": path,
            "--kubeconfig": self._kubeconfig,
            "--root-dir": self.folder / "kubelet-data",
            "--cert-dir": self.folder / "kubelet-certificates",
            "--hostname-override": "node1",
            "--node-ip": HOST,
            "--node-labels": "topology.kubernetes.io/zone=zone1",
        }
        self._run(
            "kubelet", [self._programs / "kubelet", *_options(options)], "http://127.0.0.1:10248/healthz"
        )

    def _start_containerd(self) -> None:
        network = self.folder / "network"
        network.mkdir()
        addresses = {"subnet": "10.99.0.0/24", "rangeStart": "10.99.0.50", "gateway": HOST}
        bridge = {
            "type": "bridge",
            "bridge": "driftgauge0",
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(self.folder / "addresses"),
                "ranges": [[addresses]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        plugins = {"cniVersion": "1.0.0", "name": "driftgauge", "plugins": [bridge]}
        (network / "10-bridge.conflist").write_text(json.dumps(plugins))
        config = self.folder / "containerd.toml"
        config.write_text(f"""\
version = 2
root = "{self.folder}/containerd-data"
state = "{self.folder}/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", \
"io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{self._socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{_PAUSE}"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{network}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "{shutil.which("runc")}"
  SystemdCgroup = false
""")
        client = ["ctr", "--address", str(self._socket), "--namespace", "k8s.io"]
        command = [shutil.which("containerd") or "containerd", "--config", config]
        self._run("containerd", command, [*client, "version"])
        run_command(*client, "images", "import", self._images, check=True)

    def _run(self, name: str, command: Sequence[str | Path], answers: Sequence[str] | str) -> None:
        _Server(self.folder / name, command, answers).start()

    def kubectl(self, *words: str | Path, check: bool = True) -> Completed:
        """Run kubectl in the namespace of driftgauge."""
        own = ("--kubeconfig", self._kubeconfig, "--namespace", NAMESPACE)
        done = run_command(tool("kubectl"), *own, *words)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def helm(self, *words: str | Path) -> str:
        """Run Helm in the namespace of driftgauge; return what it said."""
        return run_helm("--kubeconfig", self._kubeconfig, "--namespace", NAMESPACE, *words).stdout

    def get(self, *words: str) -> dict[str, Any]:
        """Return what `kubectl get` finds."""
        return json.loads(self.kubectl("get", *words, "--output=json").stdout)

    def describe(self) -> str:
        """Return what the cluster says of its pods and events, for a failure."""
        commands = (
            "get pods --output=wide",
            "describe pods",
            "logs --selector=app.kubernetes.io/name=driftgauge",
        )
        return "\n".join(self.kubectl(*command.split(), check=False).stdout[-8_000:] for command in commands)

    def ready(self) -> dict[str, str]:
        """Return the uid of each ready pod of the replicas, by name."""
        pods = self.get("pods", "--selector=app.kubernetes.io/name=driftgauge")["items"]
        return {
            pod["metadata"]["name"]: pod["metadata"]["uid"]
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            and any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in pod["status"].get("conditions", ())
            )
        }


def _options(options: dict[str, object]) -> list[str]:
    return [f"{name}={value}" for name, value in options.items()]
