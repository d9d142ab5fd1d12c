"""The hand's outline in each camera's pictures: a mask by background and skin colour, and its confidence."""
