#!/usr/bin/env python3
"""What ChatAPI's WebSocket shows and in which order: what was missed, then what comes."""
import threading

from harness import equal, line, main
from words import live, pair


@line("ws-replay-01")
def what_was_missed_comes_in_order_on_connect(s):
    alice, bob, room = pair(s)
    for n in range(5):
        alice.send(room, str(n))
    bob.ack(room, 2)
    opened = bob.connect()
    equal([opened.wait_for("message")["seq"] for _ in range(3)], [3, 4, 5])
    alice.send(room, "live")
    equal(opened.wait_for("message")["seq"], 6)


@line("ws-replay-02")
def all_rooms_of_a_user_are_subscribed(s):
    alice, bob, room = pair(s)
    group = alice.create_room("group", ["alice", "bob"]).json["room_id"]
    opened = bob.connect()
    for one in (room, group):
        alice.send(one, f"in {one}")
        opened.wait_for("message", room_id=one, content=f"in {one}")
    new = alice.create_room("dm", ["bob", "carol"]).json["room_id"]
    opened.wait_for("room.added")  # made while Bob is connected: live all the same
    alice.as_user("carol").send(new, "new here")
    opened.wait_for("message", room_id=new, content="new here")


@line("ws-replay-03")
def what_was_not_acked_comes_again_with_the_same_id(s):
    alice, bob, room = pair(s)
    sent = alice.send(room, "x").json["message_id"]
    for _ in range(3):
        opened = bob.connect()
        equal(opened.wait_for("message")["message_id"], sent)
        opened.close()


@line("ws-replay-04")
def of_very_many_missed_the_newest_come(s):
    alice, bob, room = pair(s, PARLEY_SYNC_MAX_EVENTS="3")
    for n in range(6):
        alice.send(room, str(n))
    opened = bob.connect()
    gap = opened.wait_for("sync.complete", room_id=room)
    equal((gap["outcome"], gap["from_seq"], gap["to_seq"]), ("gap", 1, 3))
    equal([opened.wait_for("message")["seq"] for _ in range(3)], [4, 5, 6])


@line("ws-replay-05")
def state_is_kept_over_a_disconnect_and_a_restart(s):
    node = s.own_node()
    alice = node.tenant().as_user("alice")
    bob = alice.as_user("bob")
    room = alice.create_room("dm", ["alice", "bob"]).json["room_id"]
    opened = live(bob, room)
    opened.send("ack", room_id=room, seq=1)
    opened.wait_for("ack.received")
    opened.close()
    alice.send(room, "missed")
    node.signal()
    equal(node.exit_status(), 0)
    node.start()
    bob.address = node.address
    again = bob.connect()
    equal(again.wait_for("message")["content"], "missed")


@line("ws-order-01")
def all_readers_see_one_order_and_each_message_once(s):
    names = ("alice", "bob", "carol")
    people = s.users(*names)
    room = people[0].create_room("group", list(names)).json["room_id"]
    sockets = [one.connect() for one in people]
    senders = [threading.Thread(target=lambda w=w: [w.send("send_message", room_id=room, content=str(n)) for n in range(15)])
               for w in sockets]
    for one in senders:
        one.start()
    for one in senders:
        one.join(20)
    seen = [[w.wait_for("message")["message_id"] for _ in range(45)] for w in sockets]
    equal(seen[0], seen[1])
    equal(seen[0], seen[2])
    equal([m["seq"] for m in sockets[0].taken("message")], list(range(1, 46)))


@line("ws-order-02")
def seqs_of_messages_may_leave_numbers_out(s):
    alice, bob, room = pair(s)
    opened = live(bob, room)
    first = alice.send(room, "x").json["message_id"]
    equal(alice.request("PATCH", f"/rooms/{room}/messages/{first}", {"content": "y"}).status, 200)
    alice.send(room, "z")
    opened.wait_for("message", content="z")
    equal([m["seq"] for m in opened.taken("message")], [1, 2, 4])


if __name__ == "__main__":
    main()
