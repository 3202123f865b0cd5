"""Colours of every picture: Okabe and Ito's, told apart by colour-blind readers.

https://jfly.uni-koeln.de/color/
"""

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"
