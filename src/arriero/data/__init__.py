"""Reading what people have, packing it, and an order that a resumed run finds again."""
