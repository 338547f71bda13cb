"""Messages between ranks of one machine: numbers in shared memory, and a message over sockets when they are ready.

A message of gloo wakes several threads on each side, which takes 0.2 to 2 ms, however short it is. Here the thread that
computes waits itself, and a short message takes 0.03 ms.
"""

from __future__ import annotations

import mmap
import os
import secrets
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

CAPACITY = 2**20  # bytes of a rank in each of two buffers; longer messages go in pieces, which stay in a core's cache
MOST_RANKS = 64
CONNECTING = 10.0  # seconds
_NUMBER = struct.Struct("q")
_LONGEST = 96  # bytes of what ranks tell each other at the start
_KNOWN: list[tuple[Any, Neighbours | None]] = []  # of the current process group


def neighbours() -> Neighbours | None:
    """Return how the ranks of torch.distributed's default group reach each other in memory; None if they cannot.

    All ranks must call it at the same point, where they would send a message. They cannot where one is on another
    machine, or the system is not Linux, or the environment sets DETENTE_SHARED_MEMORY to 0 on one.
    """
    group = dist.group.WORLD
    if not _KNOWN or _KNOWN[0][0] is not group:
        disconnect()
        _KNOWN.append((group, _connected(dist.get_rank(), dist.get_world_size())))
    return _KNOWN[0][1]


def disconnect() -> None:
    """Close the connection of the ranks, after the process group has ended."""
    for _, known in _KNOWN:
        if known is not None:
            known.close()
    _KNOWN.clear()


class Neighbours:
    """All ranks, which have some memory in common. Every rank must make the same calls.

    There are two buffers, used in turn. A rank writes into one of them again only after all have sent a message since,
    and so have read what was there.

    Args:
        rank: index of this process.
        peers: a socket to each other rank, in their order.
        memory: the common memory, (2, ranks, CAPACITY), uint8.
        timeout: seconds to wait for another rank.
    """

    def __init__(self, rank: int, peers: Sequence[socket.socket], memory: Tensor, timeout: float) -> None:
        self.rank, self.peers, self.memory, self._sent = rank, peers, memory, 0
        limit = struct.pack("ll", int(timeout), int(timeout % 1 * 1e6))
        for peer in peers:
            peer.settimeout(None)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)

    def close(self) -> None:
        """End the connection."""
        for peer in self.peers:
            peer.close()

    def gathered(self, tensor: Tensor) -> Tensor:
        """Return every rank's tensor, (ranks, …)."""
        flat = tensor.reshape(-1)
        of_ranks = flat.new_empty(len(self.peers) + 1, len(flat))
        length = CAPACITY // flat.element_size()
        for piece, result in zip(flat.split(length), of_ranks.split(length, 1), strict=True):
            slots = self._slots(piece)
            slots[self.rank].copy_(piece)
            self._wait(piece)
            result.copy_(slots)
        return of_ranks.view(len(of_ranks), *tensor.shape)

    def summed(self, vectors: Sequence[Tensor], divisor: int = 1) -> Tensor:
        """Return the sum over ranks of vectors, (n_k,), one after the other, divided; it is added in their order."""
        total = vectors[0].new_empty(sum(map(len, vectors)))
        length = CAPACITY // total.element_size()
        if not len(total):
            return total
        for piece, sent in zip(total.split(length), _pieces(vectors, length), strict=False):
            slots = self._slots(piece)
            torch.cat(sent, out=slots[self.rank])
            self._wait(piece)
            if len(slots) == 2:
                torch.add(slots[0], slots[1], out=piece)
            else:  # each rank adds a part, where nobody else reads or writes
                parts = [slot.tensor_split(len(slots)) for slot in slots]
                contributions = [of_rank[self.rank] for of_rank in parts]
                contributions[self.rank].copy_(in_order(contributions))
                self._wait(piece)
                torch.cat([parts[rank][rank] for rank in range(len(slots))], out=piece)
            if divisor != 1:
                piece.div_(divisor)  # while it is in the cache
        return total

    def scattered(self, rows: Sequence[Sequence[Tensor]], divisor: int = 1) -> Tensor:
        """Return the sum over ranks of what each of them has for this one, in its row; see `summed`."""
        total = rows[0][0].new_empty(sum(map(len, rows[0])))
        length = CAPACITY // (total.element_size() * len(rows))
        pieces = [_pieces(row, length) for row in rows]
        for index, piece in enumerate(total.split(length) if len(total) else ()):
            slots = self._slots(piece, len(rows)).unflatten(1, (len(rows), len(piece)))
            for rank, of_rank in enumerate(pieces):
                torch.cat(of_rank[index], out=piece if rank == self.rank else slots[self.rank, rank])
            self._wait(piece)
            terms = [piece if rank == self.rank else slots[rank, self.rank] for rank in range(len(rows))]
            piece.copy_(in_order(terms)) if len(rows) > 2 else torch.add(terms[0], terms[1], out=piece)
            if divisor != 1:
                piece.div_(divisor)
        return total

    def _slots(self, piece: Tensor, times: int = 1) -> Tensor:
        """Return where each rank's numbers are in the next buffer, (ranks, times · length of the piece)."""
        self._sent += 1
        return self.memory[self._sent % 2].view(piece.dtype)[:, : times * len(piece)]

    def _wait(self, piece: Tensor) -> None:
        """Tell the others that this rank's numbers are there, and wait for theirs.

        Raises:
            DistNetworkError: another rank has ended, does not answer, or sends another message.
        """
        size = _NUMBER.pack(piece.numel() * piece.element_size())
        try:
            for peer in self.peers:
                peer.sendall(size)
            for peer in self.peers:
                received = peer.recv(len(size), socket.MSG_WAITALL)
                if received != size:
                    raise OSError("another rank takes different steps" if received else "closed by another rank")
        except BlockingIOError as error:
            raise dist.DistNetworkError("timed out: another rank does not answer") from error
        except OSError as error:
            raise dist.DistNetworkError(f"connection to another rank: {error}") from error


def in_order(terms: Sequence[Tensor]) -> Tensor:
    """Return the sum of two or more tensors, added one after the other."""
    total = terms[0] + terms[1]
    for term in terms[2:]:
        total += term
    return total


def _pieces(vectors: Sequence[Tensor], length: int) -> list[list[Tensor]]:
    """Return what the pieces of `length` numbers of vectors, one after the other, consist of."""
    pieces, space = [[]], length
    for vector in vectors:
        while len(vector):
            pieces[-1].append(vector[:space])
            vector = vector[space:]
            space = length - sum(map(len, pieces[-1]))
            if not space:
                pieces.append([])
                space = length
    return pieces


def _connected(rank: int, count: int) -> Neighbours | None:
    """Return the connection of all ranks, or None on all."""
    available = 1 < count <= MOST_RANKS and hasattr(os, "memfd_create")
    available = available and os.environ.get("DETENTE_SHARED_MEMORY") != "0"
    if not available:
        _exchanged(b"", count)  # the others expect a word
        return None
    machine, name = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip(), secrets.token_hex(16).encode()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(_address(name))
        listening.listen(count)
        listening.settimeout(CONNECTING)
        addresses = [text.split() for text in _exchanged(machine + b" " + name, count)]
        if any(len(words) < 2 or words[0] != machine for words in addresses):
            return None
        peers: dict[int, socket.socket] = {}
        try:
            memory = _connect(rank, [other for _, other in addresses], listening, peers)
        except (OSError, ValueError, struct.error):  # e.g. ranks in containers with networks of their own
            memory = None
    if not all(_exchanged(b"" if memory is None else b"met", count)):
        for peer in peers.values():
            peer.close()
        return None
    assert memory is not None
    timeout = dist.group.WORLD._get_backend(torch.device("cpu")).options._timeout  # pyright: ignore
    return Neighbours(rank, [peers[other] for other in sorted(peers)], memory, timeout.total_seconds())


def _connect(rank: int, names: Sequence[bytes], listening: socket.socket, peers: dict[int, socket.socket]) -> Tensor:
    """Connect to every other rank, and return the common memory, which rank 0 makes.

    Args:
        rank: index of this process.
        names: what each rank listens at.
        listening: the socket of this rank.
        peers: gets a socket to each other rank.
    """
    for other in range(rank):
        peers[other] = socket.socket(socket.AF_UNIX)
        peers[other].settimeout(CONNECTING)
        peers[other].connect(_address(names[other]))
        peers[other].sendall(_NUMBER.pack(rank))
    for _ in range(rank + 1, len(names)):
        peer, _ = listening.accept()
        peer.settimeout(CONNECTING)
        (other,) = _NUMBER.unpack(peer.recv(_NUMBER.size, socket.MSG_WAITALL))
        peers[other] = peer
    size = 2 * len(names) * CAPACITY
    if rank == 0:
        file = os.memfd_create("detente")
        os.ftruncate(file, size)
        for peer in peers.values():
            socket.send_fds(peer, [b"memory"], [file])
    else:
        _, (file,), _, _ = socket.recv_fds(peers[0], 6, 1)
    common = mmap.mmap(file, size)
    os.close(file)
    return torch.frombuffer(common, dtype=torch.uint8).view(2, len(names), CAPACITY)


def _address(name: bytes) -> bytes:
    """Return the address of an abstract socket: it has no file and ends with its process."""
    return b"\0detente-" + name


def _exchanged(text: bytes, count: int) -> list[bytes]:
    """Return every rank's text, by torch.distributed."""
    encoded = torch.frombuffer(bytearray(text.ljust(_LONGEST, b"\0")), dtype=torch.uint8)
    texts = [torch.empty_like(encoded) for _ in range(count)]
    dist.all_gather(texts, encoded)
    return [bytes(other.tolist()).rstrip(b"\0") for other in texts]
