"""Child processes: frames to talk to them, limits on their time and memory, and how busy the machine is beside them."""
